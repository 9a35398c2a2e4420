// Arguments and firing of a panel in eight vectors of 4 neurons, thresholds in four of 8. For inclusion in firing.hpp.
#pragma once

#include <arm_neon.h>

#include "planes.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

inline uint8x16_t look(const u8* plane, uint8x16_t k) { return vqtbl2q_u8({vld1q_u8(plane), vld1q_u8(plane + 16)}, k); }

inline void look(const Planes<2>& table, uint8x16_t k, uint16x8_t (&found)[2]) {
    const uint8x16_t low = look(table.of[0], k), high = look(table.of[1], k);
    found[0] = vreinterpretq_u16_u8(vzip1q_u8(low, high)), found[1] = vreinterpretq_u16_u8(vzip2q_u8(low, high));
}

inline void look(const Planes<4>& table, uint8x16_t k, float32x4_t (&found)[4]) {
    const uint8x16_t bytes[4] = {look(table.of[0], k), look(table.of[1], k), look(table.of[2], k), look(table.of[3], k)};
    const uint16x8_t lower[2] = {vreinterpretq_u16_u8(vzip1q_u8(bytes[0], bytes[1])),
                                 vreinterpretq_u16_u8(vzip2q_u8(bytes[0], bytes[1]))};
    const uint16x8_t upper[2] = {vreinterpretq_u16_u8(vzip1q_u8(bytes[2], bytes[3])),
                                 vreinterpretq_u16_u8(vzip2q_u8(bytes[2], bytes[3]))};
    for (int i = 0; i < 2; ++i) {
        found[2 * i] = vreinterpretq_f32_u16(vzip1q_u16(lower[i], upper[i]));
        found[2 * i + 1] = vreinterpretq_f32_u16(vzip2q_u16(lower[i], upper[i]));
    }
}

inline uint8x16_t narrowed(uint16x8_t first, uint16x8_t second) { return vcombine_u8(vmovn_u16(first), vmovn_u16(second)); }
inline uint16x8_t narrowed(uint32x4_t first, uint32x4_t second) { return vcombine_u16(vmovn_u32(first), vmovn_u32(second)); }

struct Arguments {
    float32x4_t part[8];

    Arguments(const i32* sums, const i32* squares, const Law& law) {
        const float32x4_t infinity = vdupq_n_f32(__builtin_inff());
        for (int i = 0; i < 8; ++i) {
            const float32x4_t sum = vcvtq_f32_s32(vld1q_s32(sums + 4 * i));
            part[i] = vaddq_f32(vmulq_f32(sum, vld1q_f32(law.scale + 4 * i)), vld1q_f32(law.shift + 4 * i));
            if (!law.power) continue;
            const float32x4_t sum2 = vcvtq_f32_s32(vld1q_s32(squares + 4 * i));
            const float32x4_t variance =
                vaddq_f32(vmulq_f32(sum2, vld1q_f32(law.power + 4 * i)), vld1q_f32(law.floor + 4 * i));
            const float32x4_t sure = vbslq_f32(negative(i), vnegq_f32(infinity), infinity);
            part[i] = vbslq_f32(vcgtzq_f32(variance), vdivq_f32(part[i], vsqrtq_f32(variance)), sure);
        }
    }

    uint32x4_t negative(int i) const { return vmvnq_u32(vcgezq_f32(part[i])); }

    // |argument|, rounded.
    uint32x4_t size(int i) const { return vcvtnq_u32_f32(vminnmq_f32(vabsq_f32(part[i]), vdupq_n_f32(kLargest))); }
};

struct Fired {
    uint8x16_t codes[2];

    Fired() : codes{vdupq_n_u8(0), vdupq_n_u8(0)} {}

    // From 16-bit masks in the order of uniform numbers, in which vectors i and i + 4 are one: of uniform numbers that are not
    // below the limit, and of the neurons that fire for those that are.
    Fired(const uint16x8_t (&above)[4], const uint16x8_t (&below)[4]) {
        uint32x4_t fired[2];
        for (int i = 0; i < 2; ++i)
            fired[i] = vreinterpretq_u32_u8(narrowed(veorq_u16(above[2 * i], below[2 * i]),
                                                     veorq_u16(above[2 * i + 1], below[2 * i + 1])));
        codes[0] = vandq_u8(vreinterpretq_u8_u32(vuzp1q_u32(fired[0], fired[1])), vdupq_n_u8(2));
        codes[1] = vandq_u8(vreinterpretq_u8_u32(vuzp2q_u32(fired[0], fired[1])), vdupq_n_u8(2));
    }
};

inline uint16x8_t uniform(const u32* words, int i) { return vreinterpretq_u16_u32(vld1q_u32(words + 4 * i)); }

// The high halves of products.
inline uint16x8_t product(uint16x8_t a, uint16x8_t b) {
    return vshrn_high_n_u32(vshrn_n_u32(vmull_u16(vget_low_u16(a), vget_low_u16(b)), 16), vmull_high_u16(a, b), 16);
}

inline Fired fired(const Arguments& argument, const u32* words) {
    uint16x8_t y[4], below[4], above[4];
    for (int i = 0; i < 4; ++i) {
        y[i] = narrowed(argument.size(i), argument.size(i + 4));
        below[i] = narrowed(argument.negative(i), argument.negative(i + 4));
    }
    for (int i = 0; i < 4; i += 2) {
        const uint8x16_t k = narrowed(vshrq_n_u16(y[i], 11), vshrq_n_u16(y[i + 1], 11));
        uint16x8_t base[2], slope[2], curve[2];
        look(kBasePlanes, k, base), look(kSlopePlanes, k, slope), look(kCurvePlanes, k, curve);
        for (int j = 0; j < 2; ++j) {
            const uint16x8_t f = vshlq_n_u16(y[i + j], 5);
            const uint16x8_t straight = vsubq_u16(slope[j], product(f, curve[j]));
            const uint16x8_t twice = vsubq_u16(base[j], product(f, straight));
            above[i + j] = vcgeq_u16(uniform(words, i + j), vrhaddq_u16(twice, vdupq_n_u16(0)));
        }
    }
    return {above, below};
}

inline Fired fired(const u16* limit, const u16* side, const u32* words) {
    uint16x8_t below[4], above[4];
    for (int i = 0; i < 4; ++i) {
        below[i] = vceqzq_u16(vld1q_u16(side + 8 * i));
        above[i] = vcgeq_u16(uniform(words, i), vld1q_u16(limit + 8 * i));
    }
    return {above, below};
}

// P(z = -1) of every neuron of a window, multiplied.
struct Silence {
    float32x4_t part[8];

    Silence() {
        for (float32x4_t& product : part) product = vdupq_n_f32(1.0f);
    }

    void add(const Arguments& argument) {
        for (int half = 0; half < 8; half += 4) {
            uint32x4_t y[4], k[4];
            for (int i = 0; i < 4; ++i) y[i] = argument.size(half + i), k[i] = vshrq_n_u32(y[i], 11);
            const uint8x16_t at = narrowed(narrowed(k[0], k[1]), narrowed(k[2], k[3]));
            float32x4_t level[4], fall[4], bend[4];
            look(kLevelPlanes, at, level), look(kFallPlanes, at, fall), look(kBendPlanes, at, bend);
            for (int i = 0; i < 4; ++i) {
                const float32x4_t f = vcvtq_f32_u32(vandq_u32(y[i], vdupq_n_u32(0x7ff)));
                const float32x4_t rise = vaddq_f32(vmulq_f32(bend[i], f), fall[i]);
                const float32x4_t all = vaddq_f32(vmulq_f32(rise, f), level[i]);
                const float32x4_t tail = vbslq_f32(vcltq_u32(y[i], vdupq_n_u32(65535)), all, vdupq_n_f32(0.0f));
                const float32x4_t other = vsubq_f32(vdupq_n_f32(1.0f), tail);
                part[half + i] = vmulq_f32(part[half + i], vbslq_f32(argument.negative(half + i), other, tail));
            }
        }
    }
};

inline Fired fired(const Silence& silence, const u32* words) {
    uint16x8_t never[4], above[4];
    for (int i = 0; i < 4; ++i) {
        uint32x4_t limit[2], all[2];
        for (int j = 0; j < 2; ++j) {
            limit[j] = vcvtnq_u32_f32(vmulq_f32(silence.part[i + 4 * j], vdupq_n_f32(65536.0f)));
            all[j] = vceqq_u32(limit[j], vdupq_n_u32(65536));
        }
        // Of the limit 65536 becomes 65535, which one uniform number is not below.
        above[i] = vcgeq_u16(uniform(words, i), vcombine_u16(vqmovn_u32(limit[0]), vqmovn_u32(limit[1])));
        never[i] = vandq_u16(above[i], narrowed(all[0], all[1]));
    }
    return {above, never};
}

inline void put(const Fired& fired, i64 valid, bool added, u8* to) {
    uint8x16_t codes[2] = {fired.codes[0], fired.codes[1]};
    if (added) {
        u8 before[kPanel] = {};
        std::memcpy(before, to, (std::size_t)valid);
        for (int i = 0; i < 2; ++i) codes[i] = vaddq_u8(codes[i], vld1q_u8(before + 16 * i));
    }
    if (valid == kPanel)
        vst1q_u8(to, codes[0]), vst1q_u8(to + 16, codes[1]);
    else
        std::memcpy(to, codes, (std::size_t)valid);
}

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
