// From sums to samples: the argument of a neuron's firing probability, its threshold, and the comparison with a uniform
// number. For inclusion in files that are compiled once for each instruction set.
#pragma once

#include <cstring>

#include "philox.hpp"
#include "program.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

using i8 = std::int8_t;
using i32 = std::int32_t;
using i64 = std::int64_t;
using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;

// ---- from the argument to a threshold

// 2^17 (1 - Phi(y / kArgument)) for y = 2048 k + f, f < 2048: kBase[k] - F (kSlope[k] - F kCurve[k]), F = f / 2048,
// fitted segment by segment to the smallest largest error.
alignas(64) constexpr u16 kBase[32] = {
    65535, 58418, 51432, 44702, 38337, 32427, 27044, 22229, 18003, 14361, 11281, 8724, 6640, 4973, 3665, 2657,
    1894,  1328,  916,   620,   413,   271,   174,   110,   68,    41,    24,    14,   8,    3,    1,    2};
alignas(64) constexpr u16 kSlope[32] = {7150, 7084, 6887, 6575, 6160, 5656, 5107, 4519, 3930, 3350, 2805,
                                        2306, 1858, 1469, 1142, 871,  650,  477,  346,  243,  169,  117,
                                        77,   50,   32,   21,   12,   7,    5,    0,    0,    3};
alignas(64) constexpr u16 kCurve[32] = {33,  98, 156, 209, 251, 273, 293, 293, 289, 270, 248, 223, 192, 162, 135, 109,
                                        85,  65, 51,  37,  27,  20,  13,  8,   6,   5,   3,   0,   2,   0,   0,   0};
constexpr float kLargest = 65535.0f;
constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: adding it rounds |x| < 2^22 to the nearest integer, ties to even

// 65536 (1 - Phi(|argument| / kArgument)), rounded; 0 from 4.37 standard deviations on.
inline u16 tail(float argument) {
    const float size = __builtin_fabsf(argument);
    const float bounded = size < kLargest ? size : kLargest;
    const u32 y = (u32)(i32)((bounded + kMagic) - kMagic);
    const u32 k = y >> 11, f = (y << 5) & 0xffffu;
    const u32 twice = kBase[k] - (f * (kSlope[k] - (f * kCurve[k] >> 16)) >> 16);
    return (u16)((twice + 1) >> 1);
}

inline float argument_of(float mean, float variance) {
    const float sure = mean >= 0.0f ? __builtin_inff() : -__builtin_inff();
    return variance > 0.0f ? mean / __builtin_sqrtf(variance) : sure;
}

void limits(const float* argument, i64 count, u16* __restrict limit, u16* __restrict side) {
    for (i64 i = 0; i < count; ++i) {
        limit[i] = tail(argument[i]);
        side[i] = argument[i] >= 0.0f ? 1 : 0;
    }
}

// 1 - Phi(y / kArgument) = kLevel[k] + f (kFall[k] + f kBend[k]) in float32, y and k as above, f < 2048: a parabola through
// each segment's Chebyshev points.
alignas(64) constexpr float kLevel[32] = {
    0.500005245f, 0.445704848f, 0.39240545f, 0.341053426f, 0.292489976f, 0.24741061f, 0.206337035f, 0.169603452f,
    0.137357116f, 0.109571919f, 0.0860722065f, 0.0665635467f, 0.0506667905f, 0.0379521213f, 0.027970124f,
    0.0202780142f, 0.0144598056f, 0.0101401573f, 0.00699224137f, 0.00474052737f, 0.00315957493f, 0.00207004417f,
    0.00133303041f, 0.000843672256f, 0.000524743868f, 0.000320722902f, 0.000192616382f, 0.000113660819f,
    6.58958816e-05f, 3.75329837e-05f, 2.10016915e-05f, 1.1544159e-05f};
alignas(64) constexpr float kFall[32] = {
    -2.66423795e-05f, -2.6393438e-05f, -2.56623061e-05f, -2.44890925e-05f, -2.29365196e-05f, -2.10843718e-05f,
    -1.9022722e-05f, -1.68447277e-05f, -1.46397988e-05f, -1.24878152e-05f, -1.0454869e-05f, -8.59076499e-06f,
    -6.92830008e-06f, -5.48407752e-06f, -4.26052293e-06f, -3.24866573e-06f, -2.43125442e-06f, -1.78582707e-06f,
    -1.28745592e-06f, -9.10981782e-07f, -6.32662022e-07f, -4.3123984e-07f, -2.88503713e-07f, -1.8943912e-07f,
    -1.22088281e-07f, -7.72262112e-08f, -4.79448765e-08f, -2.92150517e-08f, -1.74726367e-08f, -1.02564686e-08f,
    -5.90915183e-09f, -3.34149375e-09f};
alignas(64) constexpr float kBend[32] = {
    6.02982456e-11f, 1.77614409e-10f, 2.85216684e-10f, 3.77610193e-10f, 4.50642718e-10f, 5.01802933e-10f,
    5.30324895e-10f, 5.37101308e-10f, 5.24431165e-10f, 4.95651409e-10f, 4.5470927e-10f, 4.05735306e-10f,
    3.52666479e-10f, 2.98955055e-10f, 2.4738131e-10f, 1.99970582e-10f, 1.58002042e-10f, 1.2208716e-10f,
    9.22923474e-11f, 6.82809295e-11f, 4.94536495e-11f, 3.50728821e-11f, 2.43619985e-11f, 1.65769447e-11f,
    1.10514115e-11f, 7.21964415e-12f, 4.62225874e-12f, 2.90056564e-12f, 1.78420744e-12f, 1.07592461e-12f,
    6.36103583e-13f, 3.68736048e-13f};

// P(z = -1).
inline float silent(float argument) {
    const float size = __builtin_fabsf(argument);
    const float bounded = size < kLargest ? size : kLargest;
    const i32 y = (i32)((bounded + kMagic) - kMagic), k = y >> 11;
    const float f = (float)(y & 0x7ff);
    const float level = (kBend[k] * f + kFall[k]) * f + kLevel[k], tail = y < 65535 ? level : 0.0f;
    return argument >= 0.0f ? tail : 1.0f - tail;
}

// The threshold of a maximum of neurons, from the product of their P(z = -1).
inline void limit_of(float product, u16& limit, u16& side) {
    const i32 whole = (i32)((65536.0f * product + kMagic) - kMagic);
    side = whole < 65536 ? 1 : 0;
    limit = (u16)whole;
}

// ---- uniform 16-bit numbers: of neuron e in sample s, half e mod 2 of word s mod 4 of block e div 2

struct Uniforms {
    alignas(64) u32 words[64];

    Uniforms(const Product& product, const Chunk& chunk, i64 quad, i64 position, i64 panel) {
        const i64 element = position * product.panels.padded() + panel * kPanel;
        const Quad& which = chunk.list[quad];
        philox::sixteen(words, chunk.seed, (u32)(element / 2), which.input, which.number, product.place);
    }

    const u32* of(i64 sample) const { return words + 16 * sample; }
};

inline u16 half(const u32* words, i64 lane) { return (u16)(words[lane / 2] >> (lane % 2 * 16)); }

// ---- a panel of neurons: arguments, and who fires

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

#if defined(__AVX512VNNI__)

struct Arguments {
    __m512 half[2];

    Arguments(const i32* sums, const i32* squares, const Law& law) {
        const __m512 zero = _mm512_setzero_ps(), infinity = _mm512_set1_ps(__builtin_inff());
        for (int i = 0; i < 2; ++i) {
            const __m512 sum = _mm512_cvtepi32_ps(_mm512_load_si512(sums + 16 * i));
            const __m512 mean = _mm512_add_ps(_mm512_mul_ps(sum, _mm512_load_ps(law.scale + 16 * i)),
                                              _mm512_load_ps(law.shift + 16 * i));
            half[i] = mean;
            if (!law.power) continue;
            const __m512 sum2 = _mm512_cvtepi32_ps(_mm512_load_si512(squares + 16 * i));
            const __m512 variance = _mm512_add_ps(_mm512_mul_ps(sum2, _mm512_load_ps(law.power + 16 * i)),
                                                  _mm512_load_ps(law.floor + 16 * i));
            const __mmask16 negative = _mm512_cmp_ps_mask(mean, zero, _CMP_NGE_UQ);
            const __m512 sure = _mm512_mask_sub_ps(infinity, negative, zero, infinity);
            half[i] = _mm512_mask_div_ps(sure, _mm512_cmp_ps_mask(variance, zero, _CMP_GT_OQ), mean,
                                         _mm512_sqrt_ps(variance));
        }
    }

    __mmask16 positive(int i) const { return _mm512_cmp_ps_mask(half[i], _mm512_setzero_ps(), _CMP_GE_OQ); }

    // |argument|, rounded.
    __m512i size(int i) const {
        return _mm512_cvtps_epi32(_mm512_min_ps(_mm512_abs_ps(half[i]), _mm512_set1_ps(kLargest)));
    }
};

// The low halves of 32 numbers.
inline __m512i narrowed(__m512i first, __m512i second) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(first)), _mm512_cvtepi32_epi16(second), 1);
}

typedef __mmask32 Fired;

inline Fired fired(const Arguments& argument, const u32* words) {
    const __m512i y = narrowed(argument.size(0), argument.size(1));
    const __mmask32 side = _mm512_kunpackw(argument.positive(1), argument.positive(0));
    const __m512i k = _mm512_srli_epi16(y, 11), f = _mm512_slli_epi16(y, 5);
    const __m512i base = _mm512_permutexvar_epi16(k, _mm512_load_si512(kBase));
    const __m512i slope = _mm512_permutexvar_epi16(k, _mm512_load_si512(kSlope));
    const __m512i curve = _mm512_permutexvar_epi16(k, _mm512_load_si512(kCurve));
    const __m512i straight = _mm512_sub_epi16(slope, _mm512_mulhi_epu16(f, curve));
    const __m512i twice = _mm512_sub_epi16(base, _mm512_mulhi_epu16(f, straight));
    const __m512i limit = _mm512_avg_epu16(twice, _mm512_setzero_si512());
    return _mm512_cmplt_epu16_mask(_mm512_load_si512(words), limit) ^ side;
}

inline Fired fired(const u16* limit, const u16* side, const u32* words) {
    const __m512i sides = _mm512_load_si512(side);
    return _mm512_cmplt_epu16_mask(_mm512_load_si512(words), _mm512_load_si512(limit)) ^
           _mm512_test_epi16_mask(sides, sides);
}

// P(z = -1) of every neuron of a window, multiplied.
struct Silence {
    __m512 half[2] = {_mm512_set1_ps(1.0f), _mm512_set1_ps(1.0f)};

    void add(const Arguments& argument) {
        for (int i = 0; i < 2; ++i) {
            const __m512i y = argument.size(i), k = _mm512_srli_epi32(y, 11);
            const __m512 f = _mm512_cvtepi32_ps(_mm512_and_si512(y, _mm512_set1_epi32(0x7ff)));
            const auto look = [&](const float* table) {
                return _mm512_permutex2var_ps(_mm512_load_ps(table), k, _mm512_load_ps(table + 16));
            };
            const __m512 rise = _mm512_add_ps(_mm512_mul_ps(look(kBend), f), look(kFall));
            const __m512 level = _mm512_add_ps(_mm512_mul_ps(rise, f), look(kLevel));
            const __m512 tail = _mm512_maskz_mov_ps(_mm512_cmplt_epi32_mask(y, _mm512_set1_epi32(65535)), level);
            const __mmask16 negative = (__mmask16)~argument.positive(i);
            half[i] = _mm512_mul_ps(half[i], _mm512_mask_sub_ps(tail, negative, _mm512_set1_ps(1.0f), tail));
        }
    }
};

inline Fired fired(const Silence& silence, const u32* words) {
    __m512i limit[2];
    for (int i = 0; i < 2; ++i) limit[i] = _mm512_cvtps_epi32(_mm512_mul_ps(silence.half[i], _mm512_set1_ps(65536.0f)));
    const __m512i all = _mm512_set1_epi32(65536);
    const __mmask32 ever = _mm512_kunpackw(_mm512_cmplt_epi32_mask(limit[1], all), _mm512_cmplt_epi32_mask(limit[0], all));
    return _mm512_mask_cmpge_epu16_mask(ever, _mm512_load_si512(words), narrowed(limit[0], limit[1]));
}

inline void put(Fired fired, i64 valid, u8* to) {
    const __m256i codes = _mm256_maskz_mov_epi8(fired, _mm256_set1_epi8(2));
    if (valid == kPanel)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), codes);
    else
        _mm256_mask_storeu_epi8(to, (1u << valid) - 1u, codes);
}

#else

struct Arguments {
    float of[kPanel];

    Arguments(const i32* sums, const i32* squares, const Law& law) {
        for (int c = 0; c < kPanel; ++c) of[c] = (float)sums[c] * law.scale[c] + law.shift[c];
        if (law.power)
            for (int c = 0; c < kPanel; ++c) of[c] = argument_of(of[c], (float)squares[c] * law.power[c] + law.floor[c]);
    }
};

struct Fired {
    u8 codes[kPanel];
};

inline Fired fired(const Arguments& argument, const u32* words) {
    Fired z;
    for (int c = 0; c < kPanel; ++c)
        z.codes[c] = (half(words, c) < tail(argument.of[c])) != (argument.of[c] >= 0.0f) ? 2 : 0;
    return z;
}

inline Fired fired(const u16* limit, const u16* side, const u32* words) {
    Fired z;
    for (int c = 0; c < kPanel; ++c) z.codes[c] = (half(words, c) < limit[c]) != (side[c] != 0) ? 2 : 0;
    return z;
}

// P(z = -1) of every neuron of a window, multiplied.
struct Silence {
    float of[kPanel];

    Silence() {
        for (float& product : of) product = 1.0f;
    }

    void add(const Arguments& argument) {
        for (int c = 0; c < kPanel; ++c) of[c] *= silent(argument.of[c]);
    }
};

inline Fired fired(const Silence& silence, const u32* words) {
    u16 limit[kPanel], side[kPanel];
    for (int c = 0; c < kPanel; ++c) limit_of(silence.of[c], limit[c], side[c]);
    return fired(limit, side, words);
}

inline void put(const Fired& fired, i64 valid, u8* to) { std::memcpy(to, fired.codes, (std::size_t)valid); }

#endif

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
