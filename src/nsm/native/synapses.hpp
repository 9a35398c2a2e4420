// Layers whose every synapse is drawn: sums of the weights that transmit. Slow and exact. For inclusion in files that are
// compiled once for each instruction set.
#pragma once

#include "firing.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

// What the neurons of a panel receive in four samples: over the synapses that transmit, and over all.
template <typename Sum>
struct Received {
    alignas(64) Sum some[kQuad][kPanel] = {}, all[kQuad][kPanel] = {};

    template <typename Weight>
    void add(const u32* words, i64 sample, const Weight* weights, Sum value, u32 limit) {
        alignas(64) u16 numbers[kPanel];
        for (i64 k = 0; k < kPanel; k += 4)
            std::memcpy(numbers + k, reinterpret_cast<const u16*>(words) + drawn(k), 4 * sizeof(u16));
        for (i64 c = 0; c < kPanel; ++c) {
            const Sum product = (Sum)weights[c] * value;
            some[sample][c] += numbers[c] < limit ? product : Sum{0};
            all[sample][c] += product;
        }
    }

    void fire(const Product& product, i64 panel, const Activations& to, u8* z) const {
        const float *scale = product.scale + panel * kPanel, *shift = product.shift + panel * kPanel;
        for (i64 s = 0; s < kQuad; ++s, z += to.image.size)
            for (i64 c = 0; c < product.panels.valid(panel); ++c)
                z[c] = (float)some[s][c] + ((float)all[s][c] * scale[c] + shift[c]) >= 0.0f ? 2 : 0;
    }
};

// The first layer's: sums of real numbers, in the order of the units.
void sense(const Input& input, const Chunk& chunk, const Activations& to) {
    const Product& product = input.product;
    const Stream stream(product, chunk);
    for (i64 panel = 0; panel < product.panels.count(); ++panel)
        for (i64 quad = 0; quad < chunk.quads; ++quad)
            for (i64 p = 0; p < product.positions(); ++p) {
                const float* field = chunk.list[quad].image + product.field(input.image, p, 0) +
                                     product.panels.group(panel) * product.group_units;
                const i64 first = (p * product.panels.count() + panel) * input.units;
                Received<float> received;
                for (i64 unit = 0; unit < input.units; ++unit) {
                    const float value = field[input.offsets[unit]];
                    if (value == 0.0f) continue;
                    const Uniforms uniforms = stream.group(quad, first + unit);
                    const float* weights = input.weights + (panel * input.units + unit) * kPanel;
                    for (i64 s = 0; s < kQuad; ++s) received.add(uniforms.of(s), s, weights, value, product.limit);
                }
                received.fire(product, panel, to, neurons(to, product, quad, p, panel));
            }
}

// Whether no sum of an input can overflow.
bool bounded(const Input& input, const float* from) {
    const Product& product = input.product;
    bool numbers = true;
    for (i64 panel = 0; panel < product.panels.count(); ++panel)
        for (i64 p = 0; p < product.positions(); ++p) {
            const float* field =
                from + product.field(input.image, p, 0) + product.panels.group(panel) * product.group_units;
            float sizes[kPanel] = {};
            for (i64 unit = 0; unit < input.units; ++unit) {
                const float value = field[input.offsets[unit]];
                const float* weights = input.weights + (panel * input.units + unit) * kPanel;
                for (i64 c = 0; c < kPanel; ++c) sizes[c] += __builtin_fabsf(weights[c] * value);
            }
            for (float size : sizes) numbers &= size <= __FLT_MAX__;
        }
    return numbers;
}

// Those of a layer on codes: sums of whole numbers.
void transmit(const Product& product, const Chunk& chunk, const Activations& from, const Activations& to) {
    const Stream stream(product, chunk);
    for (i64 panel = 0; panel < product.panels.count(); ++panel)
        for (i64 quad = 0; quad < chunk.quads; ++quad)
            for (i64 p = 0; p < product.positions(); ++p) {
                const u8* field = from.codes + kQuad * quad * from.image.size + product.field(from.image, p, 0) +
                                  product.panels.group(panel) * product.group_units;
                const i64 first = (p * product.panels.count() + panel) * product.units;
                Received<i32> received;
                for (i64 unit = 0; unit < product.units; ++unit) {
                    i32 values[kQuad], any = 0;
                    for (i64 s = 0; s < kQuad; ++s) {
                        values[s] = (i32)field[s * from.image.size + product.unit_offsets[unit]] - (i32)product.area;
                        any |= values[s];
                    }
                    if (any == 0) continue;
                    const Uniforms uniforms = stream.group(quad, first + unit);
                    const std::int16_t* weights = product.synapses + (panel * product.units + unit) * kPanel;
                    for (i64 s = 0; s < kQuad; ++s) received.add(uniforms.of(s), s, weights, values[s], product.limit);
                }
                received.fire(product, panel, to, neurons(to, product, quad, p, panel));
            }
}

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
