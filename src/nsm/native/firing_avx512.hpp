// Arguments and firing of a panel in two vectors of 16 neurons, thresholds in one of 32. For inclusion in firing.hpp.
#pragma once

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

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
        constexpr int kSmallerMagnitude = 0b1010;
        return _mm512_cvtps_epi32(_mm512_range_ps(half[i], _mm512_set1_ps(kLargest), kSmallerMagnitude));
    }
};

// Bits in the order of uniform numbers: two vectors that are packed to 16-bit lanes are in it.
typedef __mmask32 Fired;

inline Fired negative(__m512i first, __m512i second) { return _mm512_movepi16_mask(_mm512_packs_epi32(first, second)); }

inline Fired fired(const Arguments& argument, const u32* words) {
    const __m512i y = _mm512_packus_epi32(argument.size(0), argument.size(1));
    // An argument of 0 is +0: shifts are never -0, and +0 is added to.
    const Fired below = negative(_mm512_castps_si512(argument.half[0]), _mm512_castps_si512(argument.half[1]));
    const __m512i k = _mm512_srli_epi16(y, 11), f = _mm512_slli_epi16(y, 5);
    const __m512i base = _mm512_permutexvar_epi16(k, _mm512_load_si512(kBase));
    const __m512i slope = _mm512_permutexvar_epi16(k, _mm512_load_si512(kSlope));
    const __m512i curve = _mm512_permutexvar_epi16(k, _mm512_load_si512(kCurve));
    const __m512i straight = _mm512_sub_epi16(slope, _mm512_mulhi_epu16(f, curve));
    const __m512i twice = _mm512_sub_epi16(base, _mm512_mulhi_epu16(f, straight));
    const __m512i limit = _mm512_avg_epu16(twice, _mm512_setzero_si512());
    return _mm512_cmpge_epu16_mask(_mm512_load_si512(words), limit) ^ below;
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
    const Fired ever = negative(_mm512_sub_epi32(limit[0], all), _mm512_sub_epi32(limit[1], all));
    return _mm512_mask_cmpge_epu16_mask(ever, _mm512_load_si512(words), _mm512_packus_epi32(limit[0], limit[1]));
}

inline void put(Fired fired, i64 valid, bool added, u8* to) {
    const __m256i mixed = _mm256_maskz_mov_epi8(fired, _mm256_set1_epi8(2));
    __m256i codes = _mm256_permutevar8x32_epi32(mixed, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
    if (added) codes = _mm256_add_epi8(codes, _mm256_maskz_loadu_epi8(valid == kPanel ? ~0u : (1u << valid) - 1u, to));
    if (valid == kPanel)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), codes);
    else
        _mm256_mask_storeu_epi8(to, (1u << valid) - 1u, codes);
}

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
