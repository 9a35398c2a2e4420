// From sums to samples: the arguments of a panel's neurons, and the comparison of their thresholds with uniform numbers. For
// inclusion in files that are compiled once for each instruction set.
#pragma once

#include <cstring>

#include "philox.hpp"
#include "thresholds.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

// Uniform 16-bit numbers of a panel in four samples: of neuron e in sample s, half e mod 2 of word s mod 4 of block e div 2.
struct Uniforms {
    alignas(64) u32 words[64];

    Uniforms(const Product& product, const Chunk& chunk, i64 quad, i64 position, i64 panel) {
        const i64 element = position * product.panels.padded() + panel * kPanel;
        const Quad& which = chunk.list[quad];
        philox::sixteen(words, chunk.seed, (u32)(element / 2), which.input, which.number, product.place);
    }

    const u32* of(i64 sample) const { return words + 16 * sample; }
};

// Of a panel at a position: argument = sum * scale + shift, with `power` over the root of squares * power + floor.
struct Law {
    const float *scale, *shift, *power, *floor;

    Law(const Product& product, i64 kind, i64 panel) {
        const i64 at = panel * kPanel;
        scale = product.scale + kind * product.panels.padded() + at;
        shift = product.shift + kind * product.panels.padded() + at;
        power = product.squares ? product.power + at : nullptr;
        floor = product.squares ? product.floor + at : nullptr;
    }
};

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET

// Each defines, for a panel: Arguments, from its sums; Silence, the product of P(z = -1) over the neurons of a window; fired(), who
// fires by arguments, by a window's silence, or by thresholds that are given; put(), which writes that as codes.
#if defined(__AVX512VNNI__)
#include "firing_avx512.hpp"
#elif defined(__AVX2__)
#include "firing_avx2.hpp"
#else
#include "firing_portable.hpp"
#endif
