// Tables of sums for the bits of 32 samples, in vectors of 32 numbers of 16 bits: one number holds 16 neurons of a sample. It is
// cut into 6, 5 and 5 bits: one permutation of 16-bit lanes adds six units to 32 sums, where a multiplying instruction adds four
// to 16. For inclusion in tables.cpp.
#pragma once

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

constexpr i64 kNeurons = 4, kRows = 4;  // neurons, and places, whose sums are in registers together
constexpr i64 kTables = 4;              // lines of a neuron's tables for a word: 64, 32 and 32 sums

// ---- bits

// The low halves of 32 numbers.
inline __m512i narrowed(__m512i first, __m512i second) {
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(first)), _mm512_cvtepi32_epi16(second), 1);
}

// Bits in the order of neurons.
inline u32 in_order(Fired fired) { return _pext_u32(fired, 0x0f0f0f0fu) | _pext_u32(fired, 0xf0f0f0f0u) << 16; }

// Who fires in 32 samples, as two lines of bits.
inline void store_bits(const Fired* fired, u16* line) {
    alignas(64) u32 ordered[kLanes];
    for (i64 s = 0; s < kLanes; ++s) ordered[s] = in_order(fired[s]);
    const __m512i first = _mm512_load_si512(ordered), second = _mm512_load_si512(ordered + 16);
    _mm512_store_si512(line, narrowed(first, second));
    _mm512_store_si512(line + kLanes, narrowed(_mm512_srli_epi32(first, 16), _mm512_srli_epi32(second, 16)));
}

// ---- sums

// For lane e: bits 2 i and 2 i + 1 of e as the bytes of a pair; bit 4 with 0 or 1 before or behind it.
struct Patterns {
    __m512i low, middle, high, full, last;

    Patterns() {
        alignas(64) u16 pairs[5][kLanes];
        for (int e = 0; e < kLanes; ++e) {
            const auto pair = [](int first, int second) { return (u16)(first | second << 8); };
            pairs[0][e] = pair(e & 1, e >> 1 & 1);
            pairs[1][e] = pair(e >> 2 & 1, e >> 3 & 1);
            pairs[2][e] = pair(e >> 4, 0);
            pairs[3][e] = pair(e >> 4, 1);
            pairs[4][e] = pair(0, e >> 4);
        }
        low = _mm512_load_si512(pairs[0]), middle = _mm512_load_si512(pairs[1]);
        high = _mm512_load_si512(pairs[2]), full = _mm512_load_si512(pairs[3]), last = _mm512_load_si512(pairs[4]);
    }
};

inline __m512i two(const i8* weights) {
    std::int16_t both;
    std::memcpy(&both, weights, sizeof both);
    return _mm512_set1_epi16(both);
}

// Tables of four neurons for some words: (word, neuron, table).
inline void make(const Product& product, i64 neuron, i64 first, i64 count, u16* table) {
    const Patterns patterns;
    for (i64 word = first; word < first + count; ++word)
        for (i64 n = 0; n < kNeurons; ++n, table += kTables * kLanes) {
            const i8* w = product.subsets + ((neuron + n) * product.words + word) * kWord;
            const auto four = [&](i64 unit) {
                return _mm512_add_epi16(_mm512_maddubs_epi16(patterns.low, two(w + unit)),
                                        _mm512_maddubs_epi16(patterns.middle, two(w + unit + 2)));
            };
            const auto store = [&](i64 line, __m512i some, __m512i pattern, i64 unit) {
                const __m512i more = _mm512_maddubs_epi16(pattern, two(w + unit));
                _mm512_store_si512(table + line * kLanes, _mm512_add_epi16(some, more));
            };
            const __m512i whole = four(0);
            store(0, whole, patterns.high, 4), store(1, whole, patterns.full, 4);
            store(2, four(6), patterns.high, 10), store(3, four(11), patterns.last, 14);
        }
}

// By hand, as GCC looks everything up before it adds anything, and keeps what is looked up in memory.
inline void add_to(__m512i& sum, __m512i x) { asm volatile("vpaddw %1, %0, %0" : "+v"(sum) : "v"(x)); }

// Sums of four neurons at four places: to[neuron * stride + place * kLanes], a line each. Never inline: what its callers keep
// in registers would leave it too few.
[[gnu::noinline]] void add_up(const u16* const* rows, const i64* lines, i64 words, const u16* table, u16* to, i64 stride) {
    __m512i total[kNeurons][kRows];
#pragma GCC unroll 4
    for (int n = 0; n < kNeurons; ++n)
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) total[n][r] = _mm512_setzero_si512();
    for (i64 word = 0; word < words; ++word, table += kNeurons * kTables * kLanes) {
        __m512i bits[kRows];
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) bits[r] = _mm512_loadu_si512(rows[r] + lines[word] * kLanes);
#pragma GCC unroll 4
        for (int n = 0; n < kNeurons; ++n) {
            const __m512i low = _mm512_load_si512(table + kTables * kLanes * n);
            const __m512i high = _mm512_load_si512(table + kTables * kLanes * n + kLanes);
#pragma GCC unroll 4
            for (int r = 0; r < kRows; ++r)
                add_to(total[n][r], _mm512_permutex2var_epi16(low, bits[r], high));
        }
#pragma GCC unroll 2
        for (int part = 0; part < 2; ++part) {
#pragma GCC unroll 4
            for (int r = 0; r < kRows; ++r) bits[r] = _mm512_srli_epi16(bits[r], part ? 5 : 6);
#pragma GCC unroll 4
            for (int n = 0; n < kNeurons; ++n) {
                const __m512i five = _mm512_load_si512(table + (kTables * n + 2 + part) * kLanes);
#pragma GCC unroll 4
                for (int r = 0; r < kRows; ++r)
                    add_to(total[n][r], _mm512_permutexvar_epi16(bits[r], five));
            }
        }
    }
#pragma GCC unroll 4
    for (int n = 0; n < kNeurons; ++n)
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) _mm512_store_si512(to + n * stride + r * kLanes, total[n][r]);
}

// ---- from (neuron, sample) to (sample, neuron)

inline void store_doubled(i32* to, __m512i sums, bool add) {
    for (int i = 0; i < 2; ++i) {
        const __m256i half = i ? _mm512_extracti64x4_epi64(sums, 1) : _mm512_castsi512_si256(sums);
        __m512i wide = _mm512_slli_epi32(_mm512_cvtepi16_epi32(half), 1);  // a neuron that fired has the code 2
        if (add) wide = _mm512_add_epi32(wide, _mm512_load_si512(to + 16 * i));
        _mm512_store_si512(to + 16 * i, wide);
    }
}

// Doubles 32 lines of `from` into rows of `to`, or adds them to these.
inline void transpose(const u16* from, i64 stride, i32 (*to)[kPanel], bool add) {
    __m512i parts[4][8];
    for (int g = 0; g < 4; ++g) {
        __m512i line[8], pair[8], four[8];
        for (int i = 0; i < 8; ++i) line[i] = _mm512_load_si512(from + (8 * g + i) * stride);
        for (int i = 0; i < 8; i += 2) {
            pair[i] = _mm512_unpacklo_epi16(line[i], line[i + 1]);
            pair[i + 1] = _mm512_unpackhi_epi16(line[i], line[i + 1]);
        }
        for (int h = 0; h < 8; h += 4)
            for (int i = 0; i < 2; ++i) {
                four[h + 2 * i] = _mm512_unpacklo_epi32(pair[h + i], pair[h + 2 + i]);
                four[h + 2 * i + 1] = _mm512_unpackhi_epi32(pair[h + i], pair[h + 2 + i]);
            }
        for (int i = 0; i < 4; ++i) {
            parts[g][2 * i] = _mm512_unpacklo_epi64(four[i], four[4 + i]);
            parts[g][2 * i + 1] = _mm512_unpackhi_epi64(four[i], four[4 + i]);
        }
    }
    for (int r = 0; r < 8; ++r) {
        const __m512i a = _mm512_shuffle_i64x2(parts[0][r], parts[1][r], 0x44);
        const __m512i b = _mm512_shuffle_i64x2(parts[2][r], parts[3][r], 0x44);
        const __m512i c = _mm512_shuffle_i64x2(parts[0][r], parts[1][r], 0xee);
        const __m512i d = _mm512_shuffle_i64x2(parts[2][r], parts[3][r], 0xee);
        store_doubled(to[r], _mm512_shuffle_i64x2(a, b, 0x88), add);
        store_doubled(to[8 + r], _mm512_shuffle_i64x2(a, b, 0xdd), add);
        store_doubled(to[16 + r], _mm512_shuffle_i64x2(c, d, 0x88), add);
        store_doubled(to[24 + r], _mm512_shuffle_i64x2(c, d, 0xdd), add);
    }
}

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
