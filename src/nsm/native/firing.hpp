// From sums to samples: the arguments of a panel's neurons, and the comparison of their thresholds with uniform numbers. For
// inclusion in files that are compiled once for each instruction set.
#pragma once

#include <cstring>

#include "ars.hpp"
#include "thresholds.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

// Which of a panel's 32 uniform numbers is neuron k's. Four neurons of each half in turn: so are 32-bit lanes when two vectors
// are packed to 16.
constexpr i64 drawn(i64 k) { return 8 * (k % 16 / 4) + 4 * (k / 16) + k % 4; }

// Uniform 16-bit numbers of a panel in four samples, eight to a block.
struct Uniforms {
    alignas(64) u32 words[64];

    const u32* of(i64 sample) const { return words + 16 * sample; }
};

// What a layer draws for a chunk.
class Stream {
public:
    Stream(const Product& product, const Chunk& chunk) : product_(product), chunk_(chunk), keys_(chunk.seed) {}

    // Of single neurons, and of one neuron of each population.
    Uniforms at(i64 quad, i64 position, i64 panel) const { return group(quad, position * product_.panels.count() + panel); }
    Uniforms at(i64 quad, i64 position, i64 panel, i64 neuron) const {
        return group(quad, product_.drawn(position, panel, neuron));
    }

    // The numbers of a group of 32.
    Uniforms group(i64 quad, i64 number) const {
        const Quad& which = chunk_.list[quad];
        Uniforms made;
        ars::sixteen(made.words, keys_, (u32)(4 * number), which.input, (u32)kQuad * which.number, product_.place);
        return made;
    }

private:
    const Product& product_;
    const Chunk& chunk_;
    ars::Keys keys_;
};

// Where the neurons of a panel lie, in the first sample of a quad.
inline u8* neurons(const Activations& to, const Product& product, i64 quad, i64 position, i64 panel) {
    const i64 pixel = to.image.at(position / product.width, position % product.width);
    return to.codes + kQuad * quad * to.image.size + pixel + product.panels.channel(panel);
}

// Of a panel at a position: argument = sum * scale + shift, with `power` over the root of squares * power + floor. A kind of place
// has a row of scale, and one of shift for each neuron of a population.
struct Law {
    const float *scale, *shift, *power, *floor;

    Law(const Product& product, i64 kind, i64 row, i64 panel) {
        const i64 at = panel * kPanel;
        scale = product.scale + kind * product.panels.padded() + at;
        shift = product.shift + row * product.panels.padded() + at;
        power = product.squares ? product.power + at : nullptr;
        floor = product.squares ? product.floor + at : nullptr;
    }
};

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET

// Each defines, for a panel: Arguments, from its sums; Silence, the product of P(z = -1) over the neurons of a window; fired(), who
// fires by arguments, by a window's silence, or by thresholds that are given in the order of uniform numbers; put(), which writes that as
// codes, or adds them to those that are there.
#if defined(__AVX512VNNI__)
#include "firing_avx512.hpp"
#elif defined(__AVX2__)
#include "firing_avx2.hpp"
#elif defined(__ARM_FEATURE_DOTPROD)
#include "firing_neon.hpp"
#else
#include "firing_portable.hpp"
#endif
