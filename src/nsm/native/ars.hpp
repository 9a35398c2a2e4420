// ARS4x32-7: seven rounds of the AES whose keys are a Weyl sequence (Salmon et al., SC 2011). For inclusion in files that are
// compiled once for each instruction set.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__AES__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_AES)
#include <arm_neon.h>
#endif

namespace nsm::NSM_INSTRUCTION_SET {
namespace ars {

constexpr int kRounds = 7;

// Four words of 32 bits, the lowest first.
struct alignas(16) Block {
    std::uint32_t word[4];
};

// The keys of a seed: one to begin with, and one for each round.
struct Keys {
    Block key[kRounds + 1];

    explicit Keys(std::uint64_t seed) {
        std::uint64_t low = seed, high = 0;
        for (Block& block : key) {
            block = {{(std::uint32_t)low, (std::uint32_t)(low >> 32), (std::uint32_t)high, (std::uint32_t)(high >> 32)}};
            low += 0x9E3779B97F4A7C15u;
            high += 0xBB67AE8584CAA73Bu;
        }
    }
};

#if defined(__AES__)

#if defined(__VAES__) && defined(__AVX512F__)
typedef __m512i Lanes;
inline Lanes everywhere(const Block& block) {
    return _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(&block)));
}
inline Lanes pairs(std::uint64_t low, std::uint64_t high) {
    return _mm512_mask_set1_epi64(_mm512_set1_epi64((long long)low), 0xaa, (long long)high);
}
inline Lanes add(Lanes a, Lanes b) { return _mm512_add_epi32(a, b); }
inline Lanes mix(Lanes a, Lanes b) { return _mm512_xor_si512(a, b); }
inline Lanes round(Lanes a, Lanes key) { return _mm512_aesenc_epi128(a, key); }
inline Lanes last_round(Lanes a, Lanes key) { return _mm512_aesenclast_epi128(a, key); }
#else
typedef __m128i Lanes;
inline Lanes everywhere(const Block& block) { return _mm_load_si128(reinterpret_cast<const __m128i*>(&block)); }
inline Lanes pairs(std::uint64_t low, std::uint64_t high) { return _mm_set_epi64x((long long)high, (long long)low); }
inline Lanes add(Lanes a, Lanes b) { return _mm_add_epi32(a, b); }
inline Lanes mix(Lanes a, Lanes b) { return _mm_xor_si128(a, b); }
inline Lanes round(Lanes a, Lanes key) { return _mm_aesenc_si128(a, key); }
inline Lanes last_round(Lanes a, Lanes key) { return _mm_aesenclast_si128(a, key); }
#endif

constexpr int kWidth = sizeof(Lanes) / sizeof(Block), kParts = 4 / kWidth;

// What the counters of four blocks of four samples add to the first one.
struct Counted {
    Block block[4][4];

    constexpr Counted() : block() {
        for (std::uint32_t s = 0; s < 4; ++s)
            for (std::uint32_t i = 0; i < 4; ++i) block[s][i] = {{i, 0, s, 0}};
    }
};
alignas(64) constexpr Counted kCounted;

// Blocks first .. first + 3 of four samples from `sample` on: those of sample s go to words[16 s ..].
inline void sixteen(std::uint32_t* words, const Keys& keys, std::uint32_t first, std::uint32_t input, std::uint32_t sample,
                    std::uint32_t place) {
    const Lanes begin = everywhere(keys.key[0]);
    const Lanes counter = pairs(first | (std::uint64_t)input << 32, sample | (std::uint64_t)place << 32);
    Lanes state[4][kParts];
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s)
#pragma GCC unroll 4
        for (int part = 0; part < kParts; ++part) {
            const Lanes* counted = reinterpret_cast<const Lanes*>(kCounted.block[s] + kWidth * part);
            state[s][part] = mix(add(counter, *counted), begin);
        }
#pragma GCC unroll 7
    for (int r = 1; r <= kRounds; ++r) {
        const Lanes key = everywhere(keys.key[r]);
#pragma GCC unroll 4
        for (int s = 0; s < 4; ++s)
#pragma GCC unroll 4
            for (int part = 0; part < kParts; ++part)
                state[s][part] = r < kRounds ? round(state[s][part], key) : last_round(state[s][part], key);
    }
    for (int s = 0; s < 4; ++s)
        for (int part = 0; part < kParts; ++part)
            std::memcpy(words + 16 * s + 4 * kWidth * part, &state[s][part], sizeof(Lanes));
}

#elif defined(__ARM_FEATURE_AES)

// Blocks first .. first + 3 of four samples from `sample` on: those of sample s go to words[16 s ..].
inline void sixteen(std::uint32_t* words, const Keys& keys, std::uint32_t first, std::uint32_t input, std::uint32_t sample,
                    std::uint32_t place) {
    uint8x16_t key[kRounds + 1];
    for (int r = 0; r <= kRounds; ++r) key[r] = vreinterpretq_u8_u32(vld1q_u32(keys.key[r].word));
#pragma GCC unroll 4
    for (std::uint32_t s = 0; s < 4; ++s)
#pragma GCC unroll 4
        for (std::uint32_t i = 0; i < 4; ++i) {
            const Block counter{{first + i, input, sample + s, place}};
            uint8x16_t state = vreinterpretq_u8_u32(vld1q_u32(counter.word));
            // The instruction adds the key before it substitutes.
#pragma GCC unroll 6
            for (int r = 0; r < kRounds - 1; ++r) state = vaesmcq_u8(vaeseq_u8(state, key[r]));
            state = veorq_u8(vaeseq_u8(state, key[kRounds - 1]), key[kRounds]);
            vst1q_u32(words + 16 * s + 4 * i, vreinterpretq_u32_u8(state));
        }
}

#else

// Of each byte: its substitute, and the column that it adds to, (2 S, S, S, 3 S), the lowest byte first.
struct Tables {
    std::uint8_t substitute[256];
    std::uint32_t column[256];

    constexpr Tables() : substitute(), column() {
        substitute[0] = 0x63;
        std::uint8_t power = 1, inverse = 1;  // of 3, which generates the field
        for (int i = 0; i < 255; ++i) {
            const unsigned turned = inverse | inverse << 8;
            substitute[power] = (std::uint8_t)(0x63 ^ turned ^ turned >> 4 ^ turned >> 5 ^ turned >> 6 ^ turned >> 7);
            power = (std::uint8_t)(power ^ doubled(power));
            for (int shift = 1; shift < 8; shift *= 2) inverse = (std::uint8_t)(inverse ^ inverse << shift);
            if (inverse & 0x80) inverse ^= 0x09;
        }
        for (int i = 0; i < 256; ++i) {
            const std::uint32_t s = substitute[i], two = doubled(substitute[i]);
            column[i] = two | s << 8 | s << 16 | (two ^ s) << 24;
        }
    }

    static constexpr std::uint8_t doubled(std::uint8_t byte) {
        return (std::uint8_t)(byte << 1 ^ (byte & 0x80 ? 0x1b : 0));
    }
};
alignas(64) constexpr Tables kTables;

inline Block block(const Keys& keys, const Block& counter) {
    Block state;
    for (int c = 0; c < 4; ++c) state.word[c] = counter.word[c] ^ keys.key[0].word[c];
    for (int r = 1; r <= kRounds; ++r) {
        Block next = keys.key[r];
        for (int c = 0; c < 4; ++c)
            for (int row = 0; row < 4; ++row) {
                const std::uint8_t byte = (std::uint8_t)(state.word[(c + row) % 4] >> 8 * row);
                const std::uint32_t column = r < kRounds ? kTables.column[byte] : kTables.substitute[byte];
                next.word[c] ^= column << 8 * row | (row ? column >> (32 - 8 * row) : 0);
            }
        state = next;
    }
    return state;
}

// Blocks first .. first + 3 of four samples from `sample` on: those of sample s go to words[16 s ..].
inline void sixteen(std::uint32_t* words, const Keys& keys, std::uint32_t first, std::uint32_t input, std::uint32_t sample,
                    std::uint32_t place) {
    for (std::uint32_t s = 0; s < 4; ++s)
        for (std::uint32_t i = 0; i < 4; ++i) {
            const Block drawn = block(keys, {{first + i, input, sample + s, place}});
            std::memcpy(words + 16 * s + 4 * i, &drawn, sizeof drawn);
        }
}

#endif

}  // namespace ars
}  // namespace nsm::NSM_INSTRUCTION_SET
