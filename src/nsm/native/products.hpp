// Products of codes with weights: sums over the fields of some rows. For inclusion in files that are compiled once for each
// instruction set.
#pragma once

#include "firing.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

constexpr int kRows = 2 * kQuad;  // rows of a product computed together

// A neuron's field: runs of contiguous units, their length in fours of units, and how many fours of a run can be added up before
// their sums are taken further: of pairs in 16 bits, or of samples that are merged.
struct Field {
    const i64* offsets;
    i64 segments, quads, narrow;
};

// ---- products: sums over the units of some rows' fields, for the first 16 or all 32 neurons of a panel. Codes are unsigned
// and weights signed; squares of weights unsigned and squares of codes signed.

#if defined(__AVX512VNNI__)

template <bool squares, int count, int halves>
inline void accumulate(const u8* const* rows, const Field& field, const void* panel, i32 (*sums)[kPanel]) {
    __m512i total[count][halves];
    for (int r = 0; r < count; ++r)
        for (int h = 0; h < halves; ++h) total[r][h] = _mm512_setzero_si512();
    const u8* w = static_cast<const u8*>(panel);
    for (i64 s = 0; s < field.segments; ++s) {
        const i64 offset = field.offsets[s];
        for (i64 q = 0; q < field.quads; ++q, w += 128) {
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

// By hand, as GCC copies every sum and reads weights again for every row, which takes half as many instructions more.
inline void add_to(__m256i& sum, __m256i x) { asm volatile("vpaddw %1, %0, %0" : "+x"(sum) : "x"(x)); }

inline __m256i loaded(const u8* from) {
    __m256i x;
    asm volatile("vmovdqa %1, %0" : "=x"(x) : "m"(*reinterpret_cast<const __m256i*>(from)));
    return x;
}

// Four rows, 16 neurons. The two pairs of a four are summed apart in 16 bits, as long as they fit, and then together in 32.
template <bool squares>
inline void accumulate_quad(const u8* const* rows, const Field& field, const u8* w, i32 (*sums)[kPanel], int part) {
    const __m256i ones = _mm256_set1_epi16(1);
    bool begun = false;
    for (i64 s = 0; s < field.segments; ++s) {
        const i64 offset = field.offsets[s];
        for (i64 begin = 0; begin < field.quads; begin += field.narrow) {
            const i64 end = field.quads - begin < field.narrow ? field.quads : begin + field.narrow;
            __m256i pairs[kQuad][2];
            for (int r = 0; r < kQuad; ++r) pairs[r][0] = pairs[r][1] = _mm256_setzero_si256();
            for (i64 q = begin; q < end; ++q, w += 128) {
                const __m256i weights[2] = {loaded(w), loaded(w + 32)};
#pragma GCC unroll 4
                for (int r = 0; r < kQuad; ++r) {
                    i32 four;
                    std::memcpy(&four, rows[r] + offset + 4 * q, sizeof four);
                    const __m256i x = _mm256_set1_epi32(four);
#pragma GCC unroll 2
                    for (int h = 0; h < 2; ++h)
                        add_to(pairs[r][h], squares ? _mm256_maddubs_epi16(weights[h], x)
                                                    : _mm256_maddubs_epi16(x, weights[h]));
                }
            }
            for (int r = 0; r < kQuad; ++r)
                for (int h = 0; h < 2; ++h) {
                    __m256i* to = reinterpret_cast<__m256i*>(sums[r] + part + 8 * h);
                    const __m256i wide = _mm256_madd_epi16(pairs[r][h], ones);
                    _mm256_store_si256(to, begun ? _mm256_add_epi32(wide, _mm256_load_si256(to)) : wide);
                }
            begun = true;
        }
    }
}

template <bool squares, int count, int halves>
inline void accumulate(const u8* const* rows, const Field& field, const void* panel, i32 (*sums)[kPanel]) {
    for (int part = 0; part < 16 * halves; part += 16)
        for (int first = 0; first < count; first += kQuad)
            accumulate_quad<squares>(rows + first, field, static_cast<const u8*>(panel) + 4 * part, sums + first, part);
}

#elif defined(__ARM_FEATURE_DOTPROD)

// Four rows, 16 neurons. Instructions multiply unsigned numbers with unsigned ones: weights are taken 128 too large.
template <bool squares>
inline void accumulate_quad(const u8* const* rows, const Field& field, const u8* w, i32 (*sums)[kPanel], int part) {
    constexpr int kFours = 4;  // vectors of four neurons
    const uint8x16_t excess = vdupq_n_u8(squares ? 0 : 128), ones = vdupq_n_u8(1);
    uint32x4_t total[kQuad][kFours], codes[kQuad];
    for (int r = 0; r < kQuad; ++r) {
        codes[r] = vdupq_n_u32(0);
        for (int n = 0; n < kFours; ++n) total[r][n] = vdupq_n_u32(0);
    }
    for (i64 s = 0; s < field.segments; ++s)
        for (i64 q = 0; q < field.quads; ++q, w += 128) {
            uint8x16_t weights[kFours];
            for (int n = 0; n < kFours; ++n) weights[n] = veorq_u8(vld1q_u8(w + 16 * n), excess);
#pragma GCC unroll 4
            for (int r = 0; r < kQuad; ++r) {
                u32 four;
                std::memcpy(&four, rows[r] + field.offsets[s] + 4 * q, sizeof four);
                const uint8x16_t x = vreinterpretq_u8_u32(vdupq_n_u32(four));
                if (!squares) codes[r] = vdotq_u32(codes[r], x, ones);
#pragma GCC unroll 4
                for (int n = 0; n < kFours; ++n) total[r][n] = vdotq_u32(total[r][n], weights[n], x);
            }
        }
    for (int r = 0; r < kQuad; ++r)
        for (int n = 0; n < kFours; ++n)
            vst1q_s32(sums[r] + part + 4 * n, vreinterpretq_s32_u32(vsubq_u32(total[r][n], vshlq_n_u32(codes[r], 7))));
}

template <bool squares, int count, int halves>
inline void accumulate(const u8* const* rows, const Field& field, const void* panel, i32 (*sums)[kPanel]) {
    for (int part = 0; part < 16 * halves; part += 16)
        for (int first = 0; first < count; first += kQuad)
            accumulate_quad<squares>(rows + first, field, static_cast<const u8*>(panel) + 4 * part, sums + first, part);
}

#else

template <bool squares, int count, int halves>
inline void accumulate(const u8* const* rows, const Field& field, const void* panel, i32 (*sums)[kPanel]) {
    std::memset(sums, 0, count * sizeof *sums);
    const u8* w = static_cast<const u8*>(panel);
    for (i64 s = 0; s < field.segments; ++s)
        for (i64 q = 0; q < field.quads; ++q, w += 128)
            for (int r = 0; r < count; ++r) {
                const u8* x = rows[r] + field.offsets[s] + 4 * q;
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
        const i64 narrow = squared ? product.narrow_squares : product.narrow;
        run(rows, {product.offsets, product.segments, product.quads, narrow}, w, sums);
    }
};

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
