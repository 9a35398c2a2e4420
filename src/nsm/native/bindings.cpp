// Python face of the kernels: addresses and sizes, checked by nsm.native.operators before they come here.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "dispatch.hpp"
#include "program_bindings.hpp"
#include "stream_bindings.hpp"

namespace nb = nanobind;

namespace {

template <typename T>
T* address(std::uintptr_t value) {
    return reinterpret_cast<T*>(value);
}

void fire(std::uintptr_t u, std::uintptr_t z, std::uintptr_t scale, std::uintptr_t shift, std::uintptr_t rows,
          std::int64_t inputs, std::int64_t positions, std::int64_t channels, std::int64_t samples, std::int64_t u_stride,
          std::uint64_t seed, std::uint32_t place, bool bfloat16, bool position_last, bool shared,
          const std::string& instruction_set, int threads) {
    const nsm::Fire job{
        .u = address<const void>(u),
        .z = address<void>(z),
        .scale = address<const float>(scale),
        .shift = address<const float>(shift),
        .rows = address<const std::int64_t>(rows),
        .inputs = inputs,
        .positions = positions,
        .channels = channels,
        .samples = samples,
        .u_stride = u_stride,
        .seed = seed,
        .place = place,
        .type = bfloat16 ? nsm::Type::bfloat16 : nsm::Type::float32,
        .order = position_last ? nsm::Order::position_last : nsm::Order::channel_last,
        .shared = shared,
    };
    nsm::fire(job, instruction_set, threads);
}

void fire_backward(std::uintptr_t grad, std::uintptr_t u, std::uintptr_t grad_u, std::uintptr_t scale,
                   std::uintptr_t shift, std::uintptr_t by_scale, std::uintptr_t by_shift, std::int64_t inputs,
                   std::int64_t samples, std::int64_t u_stride, std::int64_t outer, std::int64_t inner, bool bfloat16,
                   bool straight_through, bool by_run, const std::string& instruction_set, int threads) {
    const nsm::FireBackward job{
        .grad = address<const void>(grad),
        .u = address<const void>(u),
        .grad_u = address<void>(grad_u),
        .scale = address<const float>(scale),
        .shift = address<const float>(shift),
        .inputs = inputs,
        .samples = samples,
        .u_stride = u_stride,
        .outer = outer,
        .inner = inner,
        .type = bfloat16 ? nsm::Type::bfloat16 : nsm::Type::float32,
        .straight_through = straight_through,
        .by_run = by_run,
    };
    nsm::fire_backward(job, address<float>(by_scale), address<float>(by_shift), instruction_set, threads);
}

void fire_max(std::uintptr_t u, std::uintptr_t z, std::uintptr_t scale, std::uintptr_t shift, std::uintptr_t origin,
              std::uintptr_t member, std::uintptr_t rows, std::int64_t inputs, std::int64_t positions,
              std::int64_t window, std::int64_t channels, std::int64_t samples, std::int64_t u_stride,
              std::uint64_t seed, std::uint32_t place, bool bfloat16, bool shared, const std::string& instruction_set,
              int threads) {
    const nsm::FireMax job{
        .u = address<const void>(u),
        .z = address<void>(z),
        .scale = address<const float>(scale),
        .shift = address<const float>(shift),
        .origin = address<const std::int64_t>(origin),
        .member = address<const std::int64_t>(member),
        .rows = address<const std::int64_t>(rows),
        .inputs = inputs,
        .positions = positions,
        .window = window,
        .channels = channels,
        .samples = samples,
        .u_stride = u_stride,
        .seed = seed,
        .place = place,
        .type = bfloat16 ? nsm::Type::bfloat16 : nsm::Type::float32,
        .shared = shared,
    };
    nsm::fire_max(job, instruction_set, threads);
}

void fire_max_backward(std::uintptr_t grad, std::uintptr_t u, std::uintptr_t grad_u, std::uintptr_t scale,
                       std::uintptr_t shift, std::uintptr_t by_scale, std::uintptr_t by_shift, std::uintptr_t origin,
                       std::uintptr_t member, std::uintptr_t grad_origin, std::uintptr_t grad_member,
                       std::int64_t inputs, std::int64_t positions, std::int64_t window, std::int64_t channels,
                       std::int64_t samples, std::int64_t u_stride, std::int64_t grad_u_stride, bool bfloat16,
                       bool straight_through, bool shared, const std::string& instruction_set, int threads) {
    const nsm::FireMaxBackward job{
        .grad = address<const void>(grad),
        .u = address<const void>(u),
        .grad_u = address<void>(grad_u),
        .scale = address<const float>(scale),
        .shift = address<const float>(shift),
        .origin = address<const std::int64_t>(origin),
        .member = address<const std::int64_t>(member),
        .grad_origin = address<const std::int64_t>(grad_origin),
        .grad_member = address<const std::int64_t>(grad_member),
        .inputs = inputs,
        .positions = positions,
        .window = window,
        .channels = channels,
        .samples = samples,
        .u_stride = u_stride,
        .grad_u_stride = grad_u_stride,
        .type = bfloat16 ? nsm::Type::bfloat16 : nsm::Type::float32,
        .straight_through = straight_through,
        .shared = shared,
    };
    nsm::fire_max_backward(job, address<float>(by_scale), address<float>(by_shift), instruction_set, threads);
}

nsm::Standardize standardize_job(std::uintptr_t u, std::uintptr_t power, std::uintptr_t gain, std::uintptr_t bias,
                                 std::int64_t inputs, std::int64_t u_stride, std::int64_t power_stride,
                                 std::int64_t outer, std::int64_t inner, float variance, float extra, bool by_run) {
    return {
        .u = address<const float>(u),
        .power = address<const float>(power),
        .gain = address<const float>(gain),
        .bias = address<const float>(bias),
        .s = nullptr,
        .grad = nullptr,
        .grad_u = nullptr,
        .grad_power = nullptr,
        .inputs = inputs,
        .u_stride = u_stride,
        .power_stride = power_stride,
        .outer = outer,
        .inner = inner,
        .variance = variance,
        .extra = extra,
        .by_run = by_run,
    };
}

void standardize(std::uintptr_t u, std::uintptr_t power, std::uintptr_t gain, std::uintptr_t bias, std::uintptr_t s,
                 std::int64_t inputs, std::int64_t u_stride, std::int64_t power_stride, std::int64_t outer,
                 std::int64_t inner, float variance, float extra, bool by_run, const std::string& instruction_set,
                 int threads) {
    nsm::Standardize job =
        standardize_job(u, power, gain, bias, inputs, u_stride, power_stride, outer, inner, variance, extra, by_run);
    job.s = address<float>(s);
    nsm::standardize(job, instruction_set, threads);
}

void standardize_backward(std::uintptr_t u, std::uintptr_t power, std::uintptr_t gain, std::uintptr_t bias,
                          std::uintptr_t grad, std::uintptr_t grad_u, std::uintptr_t grad_power, std::uintptr_t by_gain,
                          std::uintptr_t by_bias, std::int64_t inputs, std::int64_t u_stride, std::int64_t power_stride,
                          std::int64_t outer, std::int64_t inner, float variance, float extra, bool by_run,
                          const std::string& instruction_set, int threads) {
    nsm::Standardize job =
        standardize_job(u, power, gain, bias, inputs, u_stride, power_stride, outer, inner, variance, extra, by_run);
    job.grad = address<const float>(grad);
    job.grad_u = address<float>(grad_u);
    job.grad_power = address<float>(grad_power);
    nsm::standardize_backward(job, address<float>(by_gain), address<float>(by_bias), instruction_set, threads);
}

}  // namespace

NB_MODULE(_kernels, m) {
    using namespace nb::literals;
    using Unlocked = nb::call_guard<nb::gil_scoped_release>;
    m.def("instruction_sets", &nsm::instruction_sets);
    m.def("fire", &fire, nb::kw_only(), "u"_a, "z"_a, "scale"_a, "shift"_a, "rows"_a, "inputs"_a, "positions"_a,
          "channels"_a, "samples"_a, "u_stride"_a, "seed"_a, "place"_a, "bfloat16"_a, "position_last"_a, "shared"_a,
          "instruction_set"_a, "threads"_a, Unlocked());
    m.def("fire_backward", &fire_backward, nb::kw_only(), "grad"_a, "u"_a, "grad_u"_a, "scale"_a, "shift"_a,
          "by_scale"_a, "by_shift"_a, "inputs"_a, "samples"_a, "u_stride"_a, "outer"_a, "inner"_a, "bfloat16"_a,
          "straight_through"_a, "by_run"_a, "instruction_set"_a, "threads"_a, Unlocked());
    m.attr("largest_window") = nsm::kLargestWindow;
    m.def("fire_max", &fire_max, nb::kw_only(), "u"_a, "z"_a, "scale"_a, "shift"_a, "origin"_a, "member"_a, "rows"_a,
          "inputs"_a, "positions"_a, "window"_a, "channels"_a, "samples"_a, "u_stride"_a, "seed"_a, "place"_a,
          "bfloat16"_a, "shared"_a, "instruction_set"_a, "threads"_a, Unlocked());
    m.def("fire_max_backward", &fire_max_backward, nb::kw_only(), "grad"_a, "u"_a, "grad_u"_a, "scale"_a, "shift"_a,
          "by_scale"_a, "by_shift"_a, "origin"_a, "member"_a, "grad_origin"_a, "grad_member"_a, "inputs"_a,
          "positions"_a, "window"_a, "channels"_a, "samples"_a, "u_stride"_a, "grad_u_stride"_a, "bfloat16"_a,
          "straight_through"_a, "shared"_a, "instruction_set"_a, "threads"_a, Unlocked());
    m.def("standardize", &standardize, nb::kw_only(), "u"_a, "power"_a, "gain"_a, "bias"_a, "s"_a, "inputs"_a,
          "u_stride"_a, "power_stride"_a, "outer"_a, "inner"_a, "variance"_a, "extra"_a, "by_run"_a,
          "instruction_set"_a, "threads"_a, Unlocked());
    m.def("standardize_backward", &standardize_backward, nb::kw_only(), "u"_a, "power"_a, "gain"_a, "bias"_a, "grad"_a,
          "grad_u"_a, "grad_power"_a, "by_gain"_a, "by_bias"_a, "inputs"_a, "u_stride"_a, "power_stride"_a, "outer"_a,
          "inner"_a, "variance"_a, "extra"_a, "by_run"_a, "instruction_set"_a, "threads"_a, Unlocked());
    nsm::bind_program(m);
    nsm::bind_stream(m);
}
