// Products of codes with weights: sums over the fields of some rows. For inclusion in files that are compiled once for each
// instruction set.
#pragma once

#include "thresholds.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

constexpr int kRows = 2 * kQuad;  // rows of a product computed together

// ---- products: sums over the units of some rows' fields, for the first 16 or all 32 neurons of a panel

#if defined(__AVX512VNNI__)

// Codes are unsigned and weights signed; squares of weights unsigned and squares of codes signed.
template <bool squares, int count, int halves>
inline void accumulate(const u8* const* rows, const i64* offsets, i64 segments, i64 quads, const void* panel,
                       i32 (*sums)[kPanel]) {
    __m512i total[count][halves];
    for (int r = 0; r < count; ++r)
        for (int h = 0; h < halves; ++h) total[r][h] = _mm512_setzero_si512();
    const u8* w = static_cast<const u8*>(panel);
    for (i64 s = 0; s < segments; ++s) {
        const i64 offset = offsets[s];
        for (i64 q = 0; q < quads; ++q, w += 128) {
            __m512i weights[halves];
            for (int h = 0; h < halves; ++h) weights[h] = _mm512_load_si512(w + 64 * h);
#pragma GCC unroll 8
            for (int r = 0; r < count; ++r) {
                i32 four;
                std::memcpy(&four, rows[r] + offset + 4 * q, sizeof four);
                const __m512i x = _mm512_set1_epi32(four);
#pragma GCC unroll 2
                for (int h = 0; h < halves; ++h)
                    total[r][h] = squares ? _mm512_dpbusd_epi32(total[r][h], weights[h], x)
                                          : _mm512_dpbusd_epi32(total[r][h], x, weights[h]);
            }
        }
    }
    for (int r = 0; r < count; ++r)
        for (int h = 0; h < halves; ++h) _mm512_store_si512(sums[r] + 16 * h, total[r][h]);
}

#elif defined(__AVX2__)

template <bool squares, int count, int halves>
inline void accumulate(const u8* const* rows, const i64* offsets, i64 segments, i64 quads, const void* panel,
                       i32 (*sums)[kPanel]) {
    const __m256i ones = _mm256_set1_epi16(1);
    for (int first = 0; first < count; first += 4)
        for (int part = 0; part < 16 * halves; part += 16) {
            __m256i low[4], high[4];
            for (int r = 0; r < 4; ++r) low[r] = high[r] = _mm256_setzero_si256();
            const u8* w = static_cast<const u8*>(panel) + 4 * part;
            for (i64 s = 0; s < segments; ++s) {
                const i64 offset = offsets[s];
                for (i64 q = 0; q < quads; ++q, w += 128) {
                    const __m256i w0 = _mm256_load_si256(reinterpret_cast<const __m256i*>(w));
                    const __m256i w1 = _mm256_load_si256(reinterpret_cast<const __m256i*>(w + 32));
#pragma GCC unroll 4
                    for (int r = 0; r < 4; ++r) {
                        i32 four;
                        std::memcpy(&four, rows[first + r] + offset + 4 * q, sizeof four);
                        const __m256i x = _mm256_set1_epi32(four);
                        // Pairs stay below 2^15: codes are at most 128, and squares are bounded for it.
                        const __m256i p0 = squares ? _mm256_maddubs_epi16(w0, x) : _mm256_maddubs_epi16(x, w0);
                        const __m256i p1 = squares ? _mm256_maddubs_epi16(w1, x) : _mm256_maddubs_epi16(x, w1);
                        low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(p0, ones));
                        high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(p1, ones));
                    }
                }
            }
            for (int r = 0; r < 4; ++r) {
                _mm256_store_si256(reinterpret_cast<__m256i*>(sums[first + r] + part), low[r]);
                _mm256_store_si256(reinterpret_cast<__m256i*>(sums[first + r] + part + 8), high[r]);
            }
        }
}

#else

template <bool squares, int count, int halves>
inline void accumulate(const u8* const* rows, const i64* offsets, i64 segments, i64 quads, const void* panel,
                       i32 (*sums)[kPanel]) {
    std::memset(sums, 0, count * sizeof *sums);
    const u8* w = static_cast<const u8*>(panel);
    for (i64 s = 0; s < segments; ++s)
        for (i64 q = 0; q < quads; ++q, w += 128)
            for (int r = 0; r < count; ++r) {
                const u8* x = rows[r] + offsets[s] + 4 * q;
                for (int c = 0; c < 16 * halves; ++c)
                    for (int j = 0; j < 4; ++j)
                        sums[r][c] += (i32)x[j] * (squares ? (i32)w[4 * c + j] : (i32)(i8)w[4 * c + j]);
            }
}

#endif

// Up to eight rows: one or two places, each of a quad of samples at one position.
struct Tile {
    int places;
    i64 quad[2], position[2];  // a position is that of a window
    const u8 *codes[kRows], *squares[kRows];

    // Places are counted neuron by neuron of each window, window by window of each quad.
    Tile(const Product& product, const Activations& from, i64 first, i64 end) {
        places = end - first < 2 ? 1 : 2;
        for (int i = 0; i < places; ++i) {
            const i64 window = (first + i) / product.members();
            quad[i] = window / product.positions(), position[i] = window % product.positions();
            const i64 at = product.field(from.image, position[i], (first + i) % product.members());
            for (i64 s = 0; s < kQuad; ++s) {
                const i64 sample = (kQuad * quad[i] + s) * from.image.size + at;
                codes[kQuad * i + s] = from.codes + sample;
                squares[kQuad * i + s] = from.squares ? from.squares + sample : nullptr;
            }
        }
    }

    template <bool squared>
    void sum(const Product& product, i64 panel, i32 (*sums)[kPanel]) const {
        const i64 shift = product.panels.group(panel) * product.group_units;
        const u8* rows[kRows];
        for (int r = 0; r < places * kQuad; ++r) rows[r] = (squared ? squares[r] : codes[r]) + shift;
        const i64 size = product.segments * product.quads * 4 * kPanel;
        const void* w = squared ? static_cast<const void*>(product.squares + panel * size)
                                : static_cast<const void*>(product.weights + panel * size);
        const bool both = product.panels.valid(panel) > 16;
        const auto run = places == 2 ? (both ? accumulate<squared, 8, 2> : accumulate<squared, 8, 1>)
                                     : (both ? accumulate<squared, 4, 2> : accumulate<squared, 4, 1>);
        run(rows, product.offsets, product.segments, product.quads, w, sums);
    }
};

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
