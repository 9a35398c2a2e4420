// Products of three samples at the price of two, where what is heard are neurons alone. For inclusion in rows.hpp.
//
// Codes are 0 and 2. Of samples a, b and c two rows of bytes hold a / 2 + 64 b and c / 2 + 64 a: 0, 1, 128 or 129. Let A, B and
// C be the sums of the weights of units that fired; those of the two rows are S = A + 128 B and T = C + 128 A. As long as
// -2^13 <= C < 2^13 they tell all three: A modulo 128 is S modulo 128, T without 128 times that is C + 2^14 (A div 128), and what
// S has beyond A is 128 B. A field is cut into parts that are short enough for any activations.
#pragma once

#include "products.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

constexpr i64 kTripleQuads = 3;  // four triples of samples, in eight rows
constexpr i64 kTripleSamples = kTripleQuads * kQuad;

#if defined(__AVX512VNNI__)

// Rows of some quads of samples, an image each.
inline void merge(const Activations& from, i64 first_quad, i64 quads, u8* to) {
    const i64 size = from.image.size;
    // 0 or 1, whatever lies behind the units of an image: no bit may get into the byte beside it.
    const auto fired = [](const u8* codes) {
        return _mm512_and_si512(_mm512_srli_epi16(_mm512_loadu_si512(codes), 1), _mm512_set1_epi8(1));
    };
    const u8* codes = from.codes + kQuad * first_quad * size;
    for (i64 triple = 0; triple < quads * kQuad / 3; ++triple, codes += 3 * size, to += 2 * size)
        for (i64 i = 0; i < size; i += 64) {
            const __m512i a = fired(codes + i), b = fired(codes + size + i), c = fired(codes + 2 * size + i);
            _mm512_storeu_si512(to + i, _mm512_or_si512(a, _mm512_slli_epi16(b, 7)));
            _mm512_storeu_si512(to + size + i, _mm512_or_si512(c, _mm512_slli_epi16(a, 7)));
        }
}

// Sums of 12 samples, in codes, from their eight rows.
template <int halves>
inline void accumulate_merged(const u8* rows, i64 size, const Field& field, const u8* w, i32 (*sums)[kPanel]) {
    const __m512i low_bits = _mm512_set1_epi32(127), half = _mm512_set1_epi32(1 << 13);
    bool begun = false;
    for (i64 s = 0; s < field.segments; ++s)
        for (i64 begin = 0; begin < field.quads; begin += field.narrow) {
            const i64 end = field.quads - begin < field.narrow ? field.quads : begin + field.narrow;
            __m512i total[kRows][halves];
            for (int r = 0; r < kRows; ++r)
                for (int h = 0; h < halves; ++h) total[r][h] = _mm512_setzero_si512();
            const u8* from = rows + field.offsets[s];
            for (i64 q = begin; q < end; ++q, w += 128) {
                __m512i weights[halves];
                for (int h = 0; h < halves; ++h) weights[h] = _mm512_load_si512(w + 64 * h);
#pragma GCC unroll 8
                for (int r = 0; r < kRows; ++r) {
                    i32 four;
                    std::memcpy(&four, from + r * size + 4 * q, sizeof four);
                    const __m512i x = _mm512_set1_epi32(four);
#pragma GCC unroll 2
                    for (int h = 0; h < halves; ++h) total[r][h] = _mm512_dpbusd_epi32(total[r][h], x, weights[h]);
                }
            }
#pragma GCC unroll 4
            for (int t = 0; t < kRows / 2; ++t)
#pragma GCC unroll 2
                for (int h = 0; h < halves; ++h) {
                    const __m512i first = total[2 * t][h], second = total[2 * t + 1][h];
                    const __m512i low = _mm512_and_si512(first, low_bits);
                    const __m512i rest = _mm512_sub_epi32(second, _mm512_slli_epi32(low, 7));
                    const __m512i high = _mm512_srai_epi32(_mm512_add_epi32(rest, half), 14);
                    const __m512i a = _mm512_add_epi32(_mm512_slli_epi32(high, 7), low);
                    const __m512i b = _mm512_srai_epi32(_mm512_sub_epi32(first, a), 7);
                    const __m512i c = _mm512_sub_epi32(rest, _mm512_slli_epi32(high, 14));
                    const auto put = [&](i32* to, __m512i sum) {
                        const __m512i doubled = _mm512_add_epi32(sum, sum);
                        _mm512_store_si512(to, begun ? _mm512_add_epi32(doubled, _mm512_load_si512(to)) : doubled);
                    };
                    put(sums[3 * t] + 16 * h, a), put(sums[3 * t + 1] + 16 * h, b), put(sums[3 * t + 2] + 16 * h, c);
                }
            begun = true;
        }
}

// Calls work(panel, quad, sums) with the sums of each panel for three quads from each `quad` on, of those from `begin` to `end`;
// returns how many quads are done.
template <typename Work>
inline i64 by_triples(const Product& product, const Activations& from, i64 begin, i64 end, void* scratch, const Work& work) {
    if (product.merged == 0) return 0;
    const Field field{product.offsets, product.segments, product.quads, product.merged};
    const i64 whole = (end - begin) / kTripleQuads * kTripleQuads, size = from.image.size;
    u8* rows = static_cast<u8*>(scratch);
    alignas(64) i32 sums[kTripleSamples][kPanel] = {};
    for (i64 first = 0; first < whole; first += kMergedQuads) {
        const i64 quads = whole - first < kMergedQuads ? whole - first : kMergedQuads;
        merge(from, begin + first, quads, rows);
        for (i64 panel = 0; panel < product.panels.count(); ++panel) {  // whose weights stay in cache
            const u8* w = reinterpret_cast<const u8*>(product.weights) + panel * product.segments * product.quads * 4 * kPanel;
            for (i64 quad = 0; quad < quads; quad += kTripleQuads) {
                const u8* eight = rows + quad / kTripleQuads * kRows * size;
                const auto run = product.panels.valid(panel) > 16 ? accumulate_merged<2> : accumulate_merged<1>;
                run(eight, size, field, w, sums);
                work(panel, begin + first + quad, sums);
            }
        }
    }
    return whole;
}

#else

template <typename Work>
inline i64 by_triples(const Product&, const Activations&, i64, i64, void*, const Work&) {
    return 0;
}

#endif

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
