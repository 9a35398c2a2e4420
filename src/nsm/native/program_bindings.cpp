// Python face of compiled networks: sizes and addresses, laid out and kept alive by nsm.engine.layout.
#include "program_bindings.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <map>

#include "compiled.hpp"

namespace nb = nanobind;

namespace nsm {

namespace {

using i64 = std::int64_t;

class Fields {
public:
    explicit Fields(nb::handle from) : from_(nb::cast<nb::dict>(from)) {}

    i64 number(const char* name) const { return nb::cast<i64>(from_[name]); }

    // Null where the field is None.
    template <typename T>
    const T* address(const char* name) const {
        const nb::object value = nb::borrow(from_[name]);
        return value.is_none() ? nullptr : reinterpret_cast<const T*>(nb::cast<std::uintptr_t>(value));
    }

    Fields inside(const char* name) const { return Fields(from_[name]); }

    std::string text(const char* name) const { return nb::cast<std::string>(from_[name]); }

private:
    nb::dict from_;
};

Image image_of(const Fields& f) {
    return {f.number("height"), f.number("width"), f.number("channels"), f.number("top"), f.number("left"),
            f.number("rows"), f.number("columns"), f.number("row"), f.number("size")};
}

Product product_of(const Fields& f) {
    return {
        .panels = {f.number("groups"), f.number("panels"), f.number("neurons")},
        .height = f.number("height"),
        .width = f.number("width"),
        .stride_y = f.number("stride_y"),
        .stride_x = f.number("stride_x"),
        .window_y = f.number("window_y"),
        .window_x = f.number("window_x"),
        .segments = f.number("segments"),
        .quads = f.number("quads"),
        .offsets = f.address<i64>("offsets"),
        .group_units = f.number("group_units"),
        .weights = f.address<std::int8_t>("weights"),
        .squares = f.address<std::uint8_t>("squares"),
        .tiles = f.address<std::int8_t>("tiles"),
        .square_tiles = f.address<std::uint8_t>("square_tiles"),
        .blocks = f.number("blocks"),
        .narrow = f.number("narrow"),
        .narrow_squares = f.number("narrow_squares"),
        .merged = f.number("merged"),
        .population = f.number("population"),
        .scale = f.address<float>("scale"),
        .shift = f.address<float>("shift"),
        .kinds = f.address<std::int32_t>("kinds"),
        .power = f.address<float>("power"),
        .floor = f.address<float>("floor"),
        .subsets = f.address<std::int8_t>("subsets"),
        .words = f.number("words"),
        .block = f.number("block"),
        .lines = f.address<i64>("lines"),
        .lacking = f.address<std::int32_t>("lacking"),
        .edges = f.address<std::int32_t>("edges"),
        .place = (std::uint32_t)f.number("place"),
        .limit = (std::uint32_t)f.number("limit"),
        .units = f.number("units"),
        .area = f.number("area"),
        .unit_offsets = f.address<i64>("unit_offsets"),
        .synapses = f.address<std::int16_t>("synapses"),
        .rows = f.address<std::int8_t>("rows"),
    };
}

Layer layer_of(const Fields& f) {
    static const std::map<std::string, Layer::Kind> kinds{{"real", Layer::Kind::real},
                                                          {"first", Layer::Kind::first},
                                                          {"sampled", Layer::Kind::sampled},
                                                          {"pool", Layer::Kind::pool},
                                                          {"classifier", Layer::Kind::classifier}};
    Layer layer{};
    layer.kind = kinds.at(f.text("kind"));
    layer.output = image_of(f.inside("output"));
    layer.squares = f.number("squares") != 0;
    layer.margin = (std::uint8_t)f.number("margin");
    layer.residual = layer.kind == Layer::Kind::sampled && f.number("residual") != 0;
    if (layer.kind == Layer::Kind::pool || layer.residual) {
        const Fields pool = f.inside("pool");
        layer.pool = {
            .height = pool.number("height"),
            .width = pool.number("width"),
            .kernel_y = pool.number("kernel_y"),
            .kernel_x = pool.number("kernel_x"),
            .stride_y = pool.number("stride_y"),
            .stride_x = pool.number("stride_x"),
            .average = pool.number("average") != 0,
            .offset = pool.number("offset"),
            .spacing = pool.number("spacing"),
        };
    }
    if (layer.kind == Layer::Kind::pool) {
        layer.input.image = image_of(f.inside("input").inside("image"));
        return layer;
    }
    layer.product = product_of(f.inside("product"));
    if (layer.kind == Layer::Kind::real || layer.kind == Layer::Kind::first) {
        const Fields first = f.inside("input");
        layer.input = {
            .product = layer.product,
            .weights = first.address<float>("weights"),
            .units = first.number("units"),
            .offsets = first.address<i64>("offsets"),
            .image = image_of(first.inside("image")),
            .binarize = first.number("binarize") != 0,
            .rectified = first.number("rectified") != 0,
        };
    }
    return layer;
}

Compiled* create(const nb::list& layers, i64 classes, Compiled* self) {
    std::vector<Layer> parsed;
    for (nb::handle layer : layers) parsed.push_back(layer_of(Fields(layer)));
    return new (self) Compiled(parsed, classes);
}

// (outcome, input): 0 done, 1 the input is not finite, 2 its first layer overflows.
std::tuple<int, i64> run(const Compiled& self, std::uintptr_t x, std::uintptr_t indices, i64 count, i64 offset,
                         i64 samples, std::uint64_t seed, std::uintptr_t probabilities, std::uintptr_t entropy,
                         std::uintptr_t expected_entropy, std::uintptr_t mutual_information, std::uintptr_t logits,
                         const std::string& instruction_set, int threads) {
    const auto to = [](std::uintptr_t address) { return reinterpret_cast<float*>(address); };
    const Results where{to(probabilities), to(entropy), to(expected_entropy), to(mutual_information), to(logits)};
    i64 failed = 0;
    const Outcome outcome = self.run(reinterpret_cast<const float*>(x), reinterpret_cast<const i64*>(indices), count,
                                     offset, samples, seed, where, instruction_set, threads, failed);
    return {(int)outcome, failed};
}

}  // namespace

void bind_program(nb::module_& m) {
    using namespace nb::literals;
    using Unlocked = nb::call_guard<nb::gil_scoped_release>;
    nb::class_<Compiled>(m, "Program")
        .def("__init__", [](Compiled* self, const nb::list& layers, i64 classes) { create(layers, classes, self); },
             "layers"_a, "classes"_a)
        .def("run", &run, "x"_a, "indices"_a, "count"_a, "offset"_a, "samples"_a, "seed"_a, "probabilities"_a,
             "entropy"_a, "expected_entropy"_a, "mutual_information"_a, "logits"_a, "instruction_set"_a, "threads"_a, Unlocked());
    m.def(
        "limits",
        [](std::uintptr_t argument, i64 count, std::uintptr_t limit, std::uintptr_t side,
           const std::string& instruction_set) {
            limits(reinterpret_cast<const float*>(argument), count, reinterpret_cast<std::uint16_t*>(limit),
                   reinterpret_cast<std::uint16_t*>(side), instruction_set);
        },
        nb::kw_only(), "argument"_a, "count"_a, "limit"_a, "side"_a, "instruction_set"_a);
    m.def("multiply_adds", &multiply_adds, nb::kw_only(), "least"_a, "instruction_set"_a, "threads"_a, Unlocked());
}

}  // namespace nsm
