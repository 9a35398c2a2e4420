// Arguments and firing of a panel in four vectors of 8 neurons, thresholds in two of 16. For inclusion in firing.hpp.
#pragma once

#include "planes.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

inline __m256i load(const void* from) { return _mm256_load_si256(static_cast<const __m256i*>(from)); }

// Looks 32 bytes up in 32 entries: PSHUFB has 16, and gives 0 where the highest bit of a byte is set.
struct Lookup {
    __m256i low, high;

    explicit Lookup(__m256i k)
        : low(_mm256_adds_epu8(k, _mm256_set1_epi8(0x70))), high(_mm256_sub_epi8(k, _mm256_set1_epi8(16))) {}

    __m256i in(const u8* plane) const {
        const __m128i* halves = reinterpret_cast<const __m128i*>(plane);
        return _mm256_or_si256(_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(halves[0]), low),
                               _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(halves[1]), high));
    }

    // In the order of two vectors that were packed to the 32 bytes.
    void in(const Planes<2>& table, __m256i (&found)[2]) const {
        const __m256i first = in(table.of[0]), second = in(table.of[1]);
        found[0] = _mm256_unpacklo_epi8(first, second), found[1] = _mm256_unpackhi_epi8(first, second);
    }

    // In the order of four vectors that were packed, pair by pair, to the 32 bytes.
    void in(const Planes<4>& table, __m256 (&found)[4]) const {
        const __m256i bytes[4] = {in(table.of[0]), in(table.of[1]), in(table.of[2]), in(table.of[3])};
        const __m256i lower[2] = {_mm256_unpacklo_epi8(bytes[0], bytes[1]), _mm256_unpackhi_epi8(bytes[0], bytes[1])};
        const __m256i upper[2] = {_mm256_unpacklo_epi8(bytes[2], bytes[3]), _mm256_unpackhi_epi8(bytes[2], bytes[3])};
        for (int i = 0; i < 2; ++i) {
            found[2 * i] = _mm256_castsi256_ps(_mm256_unpacklo_epi16(lower[i], upper[i]));
            found[2 * i + 1] = _mm256_castsi256_ps(_mm256_unpackhi_epi16(lower[i], upper[i]));
        }
    }
};

struct Arguments {
    __m256 part[4];

    Arguments(const i32* sums, const i32* squares, const Law& law) {
        const __m256 zero = _mm256_setzero_ps(), infinity = _mm256_set1_ps(__builtin_inff());
        for (int i = 0; i < 4; ++i) {
            const __m256 sum = _mm256_cvtepi32_ps(load(sums + 8 * i));
            part[i] = _mm256_add_ps(_mm256_mul_ps(sum, _mm256_load_ps(law.scale + 8 * i)), _mm256_load_ps(law.shift + 8 * i));
            if (!law.power) continue;
            const __m256 sum2 = _mm256_cvtepi32_ps(load(squares + 8 * i));
            const __m256 variance =
                _mm256_add_ps(_mm256_mul_ps(sum2, _mm256_load_ps(law.power + 8 * i)), _mm256_load_ps(law.floor + 8 * i));
            const __m256 sure = _mm256_or_ps(infinity, _mm256_and_ps(negative(i), _mm256_set1_ps(-0.0f)));
            part[i] = _mm256_blendv_ps(sure, _mm256_div_ps(part[i], _mm256_sqrt_ps(variance)),
                                       _mm256_cmp_ps(variance, zero, _CMP_GT_OQ));
        }
    }

    __m256 negative(int i) const { return _mm256_cmp_ps(part[i], _mm256_setzero_ps(), _CMP_NGE_UQ); }

    // |argument|, rounded.
    __m256i size(int i) const {
        const __m256 absolute = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), part[i]);
        return _mm256_cvtps_epi32(_mm256_min_ps(absolute, _mm256_set1_ps(kLargest)));
    }
};

struct Fired {
    __m256i codes;

    Fired() : codes(_mm256_setzero_si256()) {}

    // From 16-bit masks in the order of uniform numbers, in which vectors 0 and 2, 1 and 3 are when packed: of uniform numbers that are not below the limit, and of the neurons that fire for those that are.
    Fired(const __m256i (&above)[2], const __m256i (&below)[2]) {
        const __m256i fired = _mm256_packs_epi16(_mm256_xor_si256(above[0], below[0]), _mm256_xor_si256(above[1], below[1]));
        const __m256i order = _mm256_setr_epi32(0, 4, 2, 6, 1, 5, 3, 7);
        codes = _mm256_and_si256(_mm256_permutevar8x32_epi32(fired, order), _mm256_set1_epi8(2));
    }
};

inline __m256i not_below(__m256i uniform, __m256i limit) {
    return _mm256_cmpeq_epi16(_mm256_max_epu16(uniform, limit), uniform);
}

inline Fired fired(const Arguments& argument, const u32* words) {
    __m256i y[2], k[2], below[2], above[2];
    for (int i = 0; i < 2; ++i) {
        y[i] = _mm256_packus_epi32(argument.size(i), argument.size(i + 2));
        k[i] = _mm256_srli_epi16(y[i], 11);
        below[i] = _mm256_packs_epi32(_mm256_castps_si256(argument.negative(i)),
                                      _mm256_castps_si256(argument.negative(i + 2)));
    }
    const Lookup look(_mm256_packus_epi16(k[0], k[1]));
    __m256i base[2], slope[2], curve[2];
    look.in(kBasePlanes, base), look.in(kSlopePlanes, slope), look.in(kCurvePlanes, curve);
    for (int i = 0; i < 2; ++i) {
        const __m256i f = _mm256_slli_epi16(y[i], 5);
        const __m256i straight = _mm256_sub_epi16(slope[i], _mm256_mulhi_epu16(f, curve[i]));
        const __m256i twice = _mm256_sub_epi16(base[i], _mm256_mulhi_epu16(f, straight));
        above[i] = not_below(load(words + 8 * i), _mm256_avg_epu16(twice, _mm256_setzero_si256()));
    }
    return {above, below};
}

inline Fired fired(const u16* limit, const u16* side, const u32* words) {
    __m256i below[2], above[2];
    for (int i = 0; i < 2; ++i) {
        below[i] = _mm256_cmpeq_epi16(load(side + 16 * i), _mm256_setzero_si256());
        above[i] = not_below(load(words + 8 * i), load(limit + 16 * i));
    }
    return {above, below};
}

// P(z = -1) of every neuron of a window, multiplied.
struct Silence {
    __m256 part[4];

    Silence() {
        for (__m256& product : part) product = _mm256_set1_ps(1.0f);
    }

    void add(const Arguments& argument) {
        __m256i y[4], k[4];
        for (int i = 0; i < 4; ++i) y[i] = argument.size(i), k[i] = _mm256_srli_epi32(y[i], 11);
        const Lookup look(_mm256_packus_epi16(_mm256_packus_epi32(k[0], k[1]), _mm256_packus_epi32(k[2], k[3])));
        __m256 level[4], fall[4], bend[4];
        look.in(kLevelPlanes, level), look.in(kFallPlanes, fall), look.in(kBendPlanes, bend);
        for (int i = 0; i < 4; ++i) {
            const __m256 f = _mm256_cvtepi32_ps(_mm256_and_si256(y[i], _mm256_set1_epi32(0x7ff)));
            const __m256 rise = _mm256_add_ps(_mm256_mul_ps(bend[i], f), fall[i]);
            const __m256 close = _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(65535), y[i]));
            const __m256 tail = _mm256_and_ps(close, _mm256_add_ps(_mm256_mul_ps(rise, f), level[i]));
            const __m256 silent = _mm256_blendv_ps(tail, _mm256_sub_ps(_mm256_set1_ps(1.0f), tail), argument.negative(i));
            part[i] = _mm256_mul_ps(part[i], silent);
        }
    }
};

inline Fired fired(const Silence& silence, const u32* words) {
    __m256i never[2], above[2];
    for (int i = 0; i < 2; ++i) {
        __m256i limit[2], all[2];
        for (int j = 0; j < 2; ++j) {
            limit[j] = _mm256_cvtps_epi32(_mm256_mul_ps(silence.part[i + 2 * j], _mm256_set1_ps(65536.0f)));
            all[j] = _mm256_cmpeq_epi32(limit[j], _mm256_set1_epi32(65536));
        }
        // Of the limit 65536 becomes 65535, which one uniform number is not below.
        above[i] = not_below(load(words + 8 * i), _mm256_packus_epi32(limit[0], limit[1]));
        never[i] = _mm256_and_si256(above[i], _mm256_packs_epi32(all[0], all[1]));
    }
    return {above, never};
}

inline void put(const Fired& fired, i64 valid, bool added, u8* to) {
    __m256i codes = fired.codes;
    if (added) {
        __m256i before = _mm256_setzero_si256();
        std::memcpy(&before, to, (std::size_t)valid);
        codes = _mm256_add_epi8(before, codes);
    }
    if (valid == kPanel)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), codes);
    else
        std::memcpy(to, &codes, (std::size_t)valid);
}

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
