// The most that the instructions of a product can do: on registers alone. For inclusion in files that are compiled once for
// each instruction set.
#pragma once

#if defined(__AMX_INT8__)
#include "tiles.hpp"
#else
#include "products.hpp"
#endif

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

#if defined(__AMX_INT8__)

constexpr i64 kRound = 4 * kTall * kTall * kDeep;  // multiply-adds

inline void multiply_add(i64 rounds) {
    const Tiles tiles;
    for (i64 round = 0; round < rounds; ++round) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
}

#elif defined(__AVX512VNNI__)

constexpr i64 kChains = 16;  // sums that do not wait for each other

// Multiply-adds of a round.
constexpr i64 kRound = kChains * 64;

inline void multiply_add(i64 rounds) {
    const __m512i codes = _mm512_set1_epi8(2), weights = _mm512_set1_epi8(1);
    __m512i total[kChains];
    for (int i = 0; i < kChains; ++i) total[i] = _mm512_setzero_si512();
    for (i64 round = 0; round < rounds; ++round)
#pragma GCC unroll 16
        for (int i = 0; i < kChains; ++i) total[i] = _mm512_dpbusd_epi32(total[i], codes, weights);
    for (int i = 0; i < kChains; ++i) asm volatile("" : : "v"(total[i]));
}

#elif defined(__AVX2__)

constexpr i64 kChains = 8;
constexpr i64 kRound = kChains * 32;

// Sums of pairs are widened too rarely to count.
inline void multiply_add(i64 rounds) {
    const __m256i weights = _mm256_set1_epi8(1);
    __m256i total[kChains], codes = _mm256_set1_epi8(2);
    for (int i = 0; i < kChains; ++i) total[i] = _mm256_setzero_si256();
    for (i64 round = 0; round < rounds; ++round)
#pragma GCC unroll 8
        for (int i = 0; i < kChains; ++i) {
            asm volatile("" : "+x"(codes));  // else the products are made once
            total[i] = _mm256_add_epi16(total[i], _mm256_maddubs_epi16(codes, weights));
        }
    for (int i = 0; i < kChains; ++i) asm volatile("" : : "x"(total[i]));
}

#else

// No instruction of its own: the product's loop, its operands in the first-level cache.
constexpr i64 kUnits = 64;
constexpr i64 kRound = kRows * kUnits * kPanel;

inline void multiply_add(i64 rounds) {
    alignas(64) static constexpr u8 codes[kUnits] = {}, weights[kUnits * kPanel] = {};
    const u8* rows[kRows];
    for (const u8*& row : rows) row = codes;
    const i64 offset = 0;
    const Field field{&offset, 1, kUnits / 4, kUnits / 4};
    alignas(64) i32 sums[kRows][kPanel];
    for (i64 round = 0; round < rounds; ++round) {
        accumulate<false, kRows, 2>(rows, field, weights, sums);
        asm volatile("" : : "r"(sums) : "memory");
    }
}

#endif

i64 multiply_adds(i64 least) {
    const i64 rounds = (least + kRound - 1) / kRound;
    multiply_add(rounds);
    return rounds * kRound;
}

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
