// Tables of sums for the bits of 32 samples, in vectors of 16 bytes: a line is the first eight neurons' bits of every sample, and
// then the other eight's. Four bits, half of such a byte, are looked up at once. A sum of four weights is held as five low bits and
// five high ones, the sign among them, so that those of two words add up in bytes. For inclusion in tables.cpp.
#pragma once

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

constexpr i64 kNeurons = 2, kRows = 2;  // neurons, and places, whose sums are in registers together
constexpr i64 kGroups = kWord / 4;      // of units of a word that are looked up at once
constexpr i64 kTable = 32;              // bytes of a table: the low halves of 16 sums, then their high ones
constexpr int kHalf = 5;                // bits of such a half: eight of them add up to a byte at most
constexpr int kParts = 2 * kRows;       // vectors of samples at the places

// ---- bits

// Who fires in 32 samples, as two lines of bits.
inline void store_bits(const Fired* fired, u16* line) {
    const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
    u8* to = reinterpret_cast<u8*>(line);
    for (i64 s = 0; s < kLanes; ++s)
        for (int half = 0; half < 2; ++half) {
            const uint8x16_t bits = vandq_u8(vtstq_u8(fired[s].codes[half], fired[s].codes[half]), bit);
            to[2 * half * kLanes + s] = vaddv_u8(vget_low_u8(bits));
            to[(2 * half + 1) * kLanes + s] = vaddv_u8(vget_high_u8(bits));
        }
}

// ---- sums

// Tables of the neurons for some words: (word, group, neuron, half).
inline void make(const Product& product, i64 neuron, i64 first, i64 count, u16* tables) {
    alignas(16) static constexpr std::int16_t kBits[3][8] = {
        {0, -1, 0, -1, 0, -1, 0, -1}, {0, 0, -1, -1, 0, 0, -1, -1}, {0, 0, 0, 0, -1, -1, -1, -1}};
    const int16x8_t bits[3] = {vld1q_s16(kBits[0]), vld1q_s16(kBits[1]), vld1q_s16(kBits[2])};
    u8* to = reinterpret_cast<u8*>(tables);
    for (i64 word = first; word < first + count; ++word)
        for (i64 group = 0; group < kGroups; ++group)
            for (i64 n = 0; n < kNeurons; ++n, to += kTable) {
                const i8* w = product.subsets + ((neuron + n) * product.words + word) * kWord + 4 * group;
                int16x8_t without = vandq_s16(vdupq_n_s16(w[0]), bits[0]);
                for (int i = 1; i < 3; ++i) without = vaddq_s16(without, vandq_s16(vdupq_n_s16(w[i]), bits[i]));
                const int16x8_t with = vaddq_s16(without, vdupq_n_s16(w[3]));
                const uint8x16_t low = vuzp1q_u8(vreinterpretq_u8_s16(without), vreinterpretq_u8_s16(with));
                vst1q_u8(to, vandq_u8(low, vdupq_n_u8((1 << kHalf) - 1)));
                const int8x16_t high = vshrn_high_n_s16(vshrn_n_s16(without, kHalf), with, kHalf);
                vst1q_u8(to + kTable / 2, vreinterpretq_u8_s8(high));
            }
}

// Halves of the sums of up to two words, and the sums.
struct Total {
    uint8x16_t low, high;
    uint16x8_t all[2];

    NSM_INLINE void clear() { low = high = vdupq_n_u8(0); }

    NSM_INLINE void widen() {
        const int8x16_t top = vreinterpretq_s8_u8(high);
        all[0] = vaddq_u16(vaddw_u8(all[0], vget_low_u8(low)), vreinterpretq_u16_s16(vshll_n_s8(vget_low_s8(top), kHalf)));
        all[1] = vaddq_u16(vaddw_high_u8(all[1], low), vreinterpretq_u16_s16(vshll_high_n_s8(top, kHalf)));
    }
};

// Adds what the neurons receive from the units of a word at each place.
NSM_INLINE void add_word(const u16* const* rows, i64 line, const u8* table, Total (&total)[kNeurons][kParts]) {
#pragma GCC unroll 2
    for (int eight = 0; eight < 2; ++eight) {
        uint8x16_t bits[kParts];
#pragma GCC unroll 4
        for (int part = 0; part < kParts; ++part)
            bits[part] = vld1q_u8(reinterpret_cast<const u8*>(rows[part / 2] + line * kLanes) + eight * kLanes + part % 2 * 16);
#pragma GCC unroll 2
        for (int group = 0; group < 2; ++group)
#pragma GCC unroll 2
            for (int n = 0; n < kNeurons; ++n, table += kTable) {
                const uint8x16_t low = vld1q_u8(table), high = vld1q_u8(table + kTable / 2);
#pragma GCC unroll 4
                for (int part = 0; part < kParts; ++part) {
                    const uint8x16_t at = group ? vshrq_n_u8(bits[part], 4) : vandq_u8(bits[part], vdupq_n_u8(15));
                    total[n][part].low = vaddq_u8(total[n][part].low, vqtbl1q_u8(low, at));
                    total[n][part].high = vaddq_u8(total[n][part].high, vqtbl1q_u8(high, at));
                }
            }
    }
}

// Sums of the neurons at some places: to[neuron * stride + place * kLanes], a line each.
inline void add_up(const u16* const* rows, const i64* lines, i64 words, const u16* tables, u16* to, i64 stride) {
    const u8* table = reinterpret_cast<const u8*>(tables);
    Total total[kNeurons][kParts];
    for (auto& neuron : total)
        for (Total& one : neuron) one.all[0] = one.all[1] = vdupq_n_u16(0);
    for (i64 word = 0; word < words; word += 2) {
        for (auto& neuron : total)
            for (Total& one : neuron) one.clear();
        for (i64 i = word; i < words && i < word + 2; ++i, table += kGroups * kNeurons * kTable)
            add_word(rows, lines[i], table, total);
        for (auto& neuron : total)
            for (Total& one : neuron) one.widen();
    }
    for (int n = 0; n < kNeurons; ++n)
        for (int part = 0; part < kParts; ++part)
            for (int i = 0; i < 2; ++i) vst1q_u16(to + n * stride + 16 * part + 8 * i, total[n][part].all[i]);
}

// ---- from (neuron, sample) to (sample, neuron)

// Doubles 32 lines of `from` into rows of `to`, or adds them to these: a neuron that fired has the code 2.
inline void transpose(const u16* from, i64 stride, i32 (*to)[kPanel], bool add) {
    const auto store_doubled = [&](i32* row, int32x4_t sums) { vst1q_s32(row, add ? vaddq_s32(sums, vld1q_s32(row)) : sums); };
    for (i64 neuron = 0; neuron < kPanel; neuron += 8)
        for (i64 sample = 0; sample < kLanes; sample += 8) {
            uint16x8_t line[8];
            uint32x4_t pair[8];
            uint64x2_t four[8];
            for (int i = 0; i < 8; ++i) line[i] = vld1q_u16(from + (neuron + i) * stride + sample);
            for (int i = 0; i < 8; i += 2) {
                pair[i] = vreinterpretq_u32_u16(vzip1q_u16(line[i], line[i + 1]));
                pair[i + 1] = vreinterpretq_u32_u16(vzip2q_u16(line[i], line[i + 1]));
            }
            for (int h = 0; h < 8; h += 4)
                for (int i = 0; i < 2; ++i) {
                    four[h + 2 * i] = vreinterpretq_u64_u32(vzip1q_u32(pair[h + i], pair[h + 2 + i]));
                    four[h + 2 * i + 1] = vreinterpretq_u64_u32(vzip2q_u32(pair[h + i], pair[h + 2 + i]));
                }
            for (int r = 0; r < 8; ++r) {
                const uint64x2_t both = r % 2 ? vzip2q_u64(four[r / 2], four[4 + r / 2]) : vzip1q_u64(four[r / 2], four[4 + r / 2]);
                const int16x8_t row = vreinterpretq_s16_u64(both);
                store_doubled(to[sample + r] + neuron, vshll_n_s16(vget_low_s16(row), 1));
                store_doubled(to[sample + r] + neuron + 4, vshll_high_n_s16(row, 1));
            }
        }
}

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
