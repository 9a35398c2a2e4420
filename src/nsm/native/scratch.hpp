// Memory that a thread runs a compiled network in. For inclusion in compiled.cpp.
#pragma once

#include <algorithm>

#include "compiled.hpp"

namespace nsm {
namespace {

using i64 = std::int64_t;

constexpr i64 kTileRows = 32;       // samples that tiles take together
constexpr i64 kAlignment = 64;

i64 aligned(i64 bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

// What one thread works on: thresholds of some inputs, and a chunk's activations.
struct Compiled::Scratch {
    std::unique_ptr<std::uint8_t[]> memory;
    std::vector<Activations> outputs;  // of each layer, both as codes and as bits
    std::vector<float*> images;        // what each real layer and the first one receive
    float* logits;
    std::uint16_t* thresholds;
    void *sums, *work;
    i64 slots, elements;  // inputs whose thresholds, or images, are kept; of each
    i64 image_size;       // of each
    i64 input = -1, slot = 0;  // the last one
    std::vector<Quad> quads;

    explicit Scratch(const Compiled& self) : slots(self.inputs_ + 1) {
        const std::vector<Layer>& layers = self.layers_;
        const Input& first = layers.front().input;
        const Product& last = layers.back().product;
        const i64 rows = (std::max(self.rows_, self.tall_) + kTileRows - 1) / kTileRows * kTileRows;
        elements = first.product.elements();
        std::vector<i64> places;
        i64 size = 0;
        const auto reserve = [&](i64 bytes) {
            places.push_back(size);
            size += aligned(bytes + kSlack);
        };
        i64 work_size = first.scratch();
        for (const Layer& layer : self.reals_) {
            reserve(layer.input.image.size * (i64)sizeof(float));
            work_size = std::max(work_size, layer.input.scratch());
        }
        image_size = first.product.limit > 0 ? first.image.size : 0;
        reserve((first.image.size + slots * image_size) * (i64)sizeof(float));
        reserve(work_size);
        reserve(slots * elements * 2 * (i64)sizeof(std::uint16_t));
        reserve(rows * last.panels.padded() * (i64)sizeof(float));
        i64 sums_size = 0;
        for (std::size_t i = 1; i < layers.size(); ++i) {
            if (layers[i].product.subsets) sums_size = std::max(sums_size, bit_scratch(layers[i].product));
            if (layers[i].product.merged) sums_size = std::max(sums_size, merged_scratch(layers[i - 1].output));
            if (layers[i].product.rows) sums_size = std::max(sums_size, alike_scratch(layers[i].product));
        }
        reserve(sums_size);
        for (std::size_t i = 0; i < layers.size(); ++i) {
            reserve(rows * layers[i].output.size);
            reserve(layers[i].squares ? rows * layers[i].output.size : 0);
            reserve(i + 1 < layers.size() && self.may_be_bits(i)
                        ? (rows + kLanes - 1) / kLanes * lines_of(layers[i].output) * kLanes * (i64)sizeof(std::uint16_t)
                        : 0);
        }
        memory = std::make_unique<std::uint8_t[]>((std::size_t)(size + kAlignment));
        const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(memory.get());
        std::uint8_t* base = memory.get() + (kAlignment - address % kAlignment) % kAlignment;
        std::size_t next = 0;
        const auto take = [&] { return base + places[next++]; };
        for (std::size_t i = 0; i <= self.reals_.size(); ++i) images.push_back(reinterpret_cast<float*>(take()));
        work = take();
        thresholds = reinterpret_cast<std::uint16_t*>(take());
        logits = reinterpret_cast<float*>(take());
        sums = take();
        for (const Layer& layer : layers) {
            std::uint8_t *codes = take(), *squares = take(), *bits = take();
            std::fill_n(codes, rows * layer.output.size, layer.margin);
            outputs.push_back({layer.output, codes, layer.squares ? squares : nullptr,
                               reinterpret_cast<std::uint16_t*>(bits)});
        }
    }

    std::uint16_t* limit() const { return thresholds + slot * elements * 2; }
    std::uint16_t* side() const { return limit() + elements; }
    // What layer i, a real one or the first stochastic one, receives.
    float* image(std::size_t i) const { return images[i] + (i + 1 == images.size() ? slot * image_size : 0); }
};

// Scratch memory for as long as this lives.
class Compiled::Borrowed {
public:
    explicit Borrowed(const Compiled& from) : from_(from), scratch_(from.borrow()) {}
    ~Borrowed() { from_.give_back(std::move(scratch_)); }
    Borrowed(const Borrowed&) = delete;
    Borrowed& operator=(const Borrowed&) = delete;

    Scratch& operator*() const { return *scratch_; }

private:
    const Compiled& from_;
    std::unique_ptr<Scratch> scratch_;
};

}  // namespace nsm
