// Tables of sums for the bits of 32 samples, in vectors of 32 bytes: a line is the first eight neurons' bits of every sample, and
// then the other eight's. Four bits, half of such a byte, are looked up at once. A sum of four weights is held as five low bits and
// five high ones, the sign among them, so that those of two words add up in bytes: two permutations of bytes add four units to 32 sums, where a multiplying
// instruction adds two to 16. For inclusion in tables.cpp.
#pragma once

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

constexpr i64 kNeurons = 2, kRows = 2;  // neurons, and places, whose sums are in registers together
constexpr i64 kTable = 32;              // bytes of a table of two groups: a half of each of 16 sums, for each
constexpr int kHalf = 5;                // bits of such a half: eight of them add up to a byte at most

inline void store(void* to, __m256i x) { _mm256_store_si256(static_cast<__m256i*>(to), x); }

// ---- bits

// Who fires in 32 samples, as two lines of bits.
inline void store_bits(const Fired* fired, u16* line) {
    alignas(32) u32 bits[kLanes];
    for (i64 s = 0; s < kLanes; ++s) bits[s] = (u32)_mm256_movemask_epi8(_mm256_slli_epi16(fired[s].codes, 6));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7), byte = _mm256_set1_epi32(0xff);
    for (int eight = 0; eight < 4; ++eight) {
        __m256i part[4];
        for (int i = 0; i < 4; ++i) part[i] = _mm256_and_si256(_mm256_srli_epi32(load(bits + 8 * i), 8 * eight), byte);
        const __m256i mixed =
            _mm256_packus_epi16(_mm256_packus_epi32(part[0], part[1]), _mm256_packus_epi32(part[2], part[3]));
        store(line + kLanes / 2 * eight, _mm256_permutevar8x32_epi32(mixed, order));
    }
}

// ---- sums

// Tables of the neurons for some words: (word, pair of groups, neuron, half, group of the pair).
inline void make(const Product& product, i64 neuron, i64 first, i64 count, u16* tables) {
    // For eight sums, of the first group and then of the other: its weights in pairs, and which of a pair count. Of the second
    // pair the last one counts for the other eight sums.
    const __m256i low = _mm256_setr_epi64x(0x0100010001000100, 0x0100010001000100, 0x0504050405040504, 0x0504050405040504);
    const __m256i high = _mm256_add_epi8(low, _mm256_set1_epi8(2));
    const __m256i by_low = _mm256_broadcastsi128_si256(_mm_setr_epi16(0, 1, 1 << 8, 1 | 1 << 8, 0, 1, 1 << 8, 1 | 1 << 8));
    const __m256i by_high = _mm256_broadcastsi128_si256(_mm_setr_epi16(0, 0, 0, 0, 1, 1, 1, 1));
    const __m256i by_last = _mm256_or_si256(by_high, _mm256_set1_epi16(1 << 8));
    const __m256i half = _mm256_set1_epi16((1 << kHalf) - 1);
    u8* to = reinterpret_cast<u8*>(tables);
    for (i64 word = first; word < first + count; ++word)
        for (i64 eight = 0; eight < kWord; eight += 8)
            for (i64 n = 0; n < kNeurons; ++n, to += 2 * kTable) {
                const i8* w = product.subsets + ((neuron + n) * product.words + word) * kWord + eight;
                __builtin_prefetch(w + kNeurons * product.words * kWord);
                long long weights;
                std::memcpy(&weights, w, sizeof weights);
                const __m256i all = _mm256_set1_epi64x(weights);
                const __m256i two = _mm256_maddubs_epi16(by_low, _mm256_shuffle_epi8(all, low));
                const __m256i more = _mm256_shuffle_epi8(all, high);
                const __m256i without = _mm256_add_epi16(two, _mm256_maddubs_epi16(by_high, more));
                const __m256i with = _mm256_add_epi16(two, _mm256_maddubs_epi16(by_last, more));
                store(to, _mm256_packs_epi16(_mm256_and_si256(without, half), _mm256_and_si256(with, half)));
                store(to + kTable, _mm256_packs_epi16(_mm256_srai_epi16(without, kHalf), _mm256_srai_epi16(with, kHalf)));
            }
}

// Halves of the sums of up to two words, and the sums: of even samples and of odd ones.
struct Total {
    __m256i low, high, even, odd;

    NSM_INLINE void clear() { low = high = _mm256_setzero_si256(); }

    NSM_INLINE void widen() {
        const auto wide = [&](int shift) {
            return _mm256_add_epi16(_mm256_maddubs_epi16(low, _mm256_set1_epi16((std::int16_t)(1 << shift))),
                                    _mm256_maddubs_epi16(_mm256_set1_epi16((std::int16_t)(1 << (shift + kHalf))), high));
        };
        even = _mm256_add_epi16(even, wide(0));
        odd = _mm256_add_epi16(odd, wide(8));
    }

    void store_to(u16* to) const {
        const __m256i first = _mm256_unpacklo_epi16(even, odd), second = _mm256_unpackhi_epi16(even, odd);
        store(to, _mm256_permute2x128_si256(first, second, 0x20));
        store(to + kLanes / 2, _mm256_permute2x128_si256(first, second, 0x31));
    }
};

// Without a barrier GCC adds the terms among themselves first and keeps all of them in memory.
inline void add_to(__m256i& sum, __m256i x) {
    sum = _mm256_add_epi8(sum, x);
    asm volatile("" : "+x"(sum));
}

// Adds what the neurons receive from the units of a word at each place.
NSM_INLINE void add_word(const u16* const* rows, i64 line, const u8* table, Total (&total)[kNeurons][kRows]) {
    const __m256i four = _mm256_set1_epi8(15);
#pragma GCC unroll 2
    for (int eight = 0; eight < 2; ++eight) {
        __m256i bits[kRows];
#pragma GCC unroll 2
        for (int r = 0; r < kRows; ++r) bits[r] = load(rows[r] + (2 * line + eight) * (kLanes / 2));
#pragma GCC unroll 2
        for (int group = 0; group < 2; ++group) {
            __m256i at[kRows];
#pragma GCC unroll 2
            for (int r = 0; r < kRows; ++r) at[r] = _mm256_and_si256(group ? _mm256_srli_epi16(bits[r], 4) : bits[r], four);
#pragma GCC unroll 2
            for (int n = 0; n < kNeurons; ++n) {
                const __m128i* of = reinterpret_cast<const __m128i*>(table + (2 * eight * kNeurons + 2 * n) * kTable);
                const __m256i low = _mm256_broadcastsi128_si256(of[group]), high = _mm256_broadcastsi128_si256(of[2 + group]);
#pragma GCC unroll 2
                for (int r = 0; r < kRows; ++r) {
                    add_to(total[n][r].low, _mm256_shuffle_epi8(low, at[r]));
                    add_to(total[n][r].high, _mm256_shuffle_epi8(high, at[r]));
                }
            }
        }
    }
}

// Sums of the neurons at some places: to[neuron * stride + place * kLanes], a line each.
inline void add_up(const u16* const* rows, const i64* lines, i64 words, const u16* tables, u16* to, i64 stride) {
    const u8* table = reinterpret_cast<const u8*>(tables);
    const i64 size = kWord / 8 * kNeurons * 2 * kTable;
    Total total[kNeurons][kRows];
    for (auto& neuron : total)
        for (Total& one : neuron) one.even = one.odd = _mm256_setzero_si256();
    for (i64 word = 0; word < words; word += 2) {
        for (auto& neuron : total)
            for (Total& one : neuron) one.clear();
        add_word(rows, lines[word], table, total), table += size;
        if (word + 1 < words) add_word(rows, lines[word + 1], table, total), table += size;
        for (auto& neuron : total)
            for (Total& one : neuron) one.widen();
    }
    for (int n = 0; n < kNeurons; ++n)
        for (int r = 0; r < kRows; ++r) total[n][r].store_to(to + n * stride + r * kLanes);
}

// ---- from (neuron, sample) to (sample, neuron)

// Doubles 32 lines of `from` into rows of `to`, or adds them to these: a neuron that fired has the code 2.
inline void transpose(const u16* from, i64 stride, i32 (*to)[kPanel], bool add) {
    const auto store_doubled = [&](i32* row, __m128i sums) {
        __m256i wide = _mm256_slli_epi32(_mm256_cvtepi16_epi32(sums), 1);
        if (add) wide = _mm256_add_epi32(wide, load(row));
        store(row, wide);
    };
    for (i64 neuron = 0; neuron < kPanel; neuron += 8)
        for (i64 sample = 0; sample < kLanes; sample += 16) {
            __m256i line[8], pair[8], four[8];
            for (int i = 0; i < 8; ++i) line[i] = load(from + (neuron + i) * stride + sample);
            for (int i = 0; i < 8; i += 2) {
                pair[i] = _mm256_unpacklo_epi16(line[i], line[i + 1]);
                pair[i + 1] = _mm256_unpackhi_epi16(line[i], line[i + 1]);
            }
            for (int h = 0; h < 8; h += 4)
                for (int i = 0; i < 2; ++i) {
                    four[h + 2 * i] = _mm256_unpacklo_epi32(pair[h + i], pair[h + 2 + i]);
                    four[h + 2 * i + 1] = _mm256_unpackhi_epi32(pair[h + i], pair[h + 2 + i]);
                }
            for (int r = 0; r < 8; ++r) {
                const __m256i row = r % 2 ? _mm256_unpackhi_epi64(four[r / 2], four[4 + r / 2])
                                          : _mm256_unpacklo_epi64(four[r / 2], four[4 + r / 2]);
                store_doubled(to[sample + r] + neuron, _mm256_castsi256_si128(row));
                store_doubled(to[sample + 8 + r] + neuron, _mm256_extracti128_si256(row, 1));
            }
        }
}

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
