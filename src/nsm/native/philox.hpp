// Philox4x32-10 in vectors of 64-bit lanes of which only the low half counts, as the widening multiplication reads just
// that. For inclusion in files that are compiled once for each instruction set.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace nsm::NSM_INSTRUCTION_SET {
namespace philox {

#if defined(__AVX512F__)
typedef std::uint64_t Lanes __attribute__((vector_size(64)));
inline Lanes multiply(Lanes a, Lanes b) { return (Lanes)_mm512_mul_epu32((__m512i)a, (__m512i)b); }
inline Lanes mix(Lanes a, Lanes b, Lanes c) {
    return (Lanes)_mm512_ternarylogic_epi64((__m512i)a, (__m512i)b, (__m512i)c, 0x96);
}
#else
#if defined(__AVX2__)
typedef std::uint64_t Lanes __attribute__((vector_size(32)));
inline Lanes multiply(Lanes a, Lanes b) { return (Lanes)_mm256_mul_epu32((__m256i)a, (__m256i)b); }
#else
typedef std::uint64_t Lanes __attribute__((vector_size(16)));
#if defined(__SSE2__)
inline Lanes multiply(Lanes a, Lanes b) { return (Lanes)_mm_mul_epu32((__m128i)a, (__m128i)b); }
#else
inline Lanes multiply(Lanes a, Lanes b) { return (a & 0xffffffffu) * (b & 0xffffffffu); }
#endif
#endif
inline Lanes mix(Lanes a, Lanes b, Lanes c) { return a ^ b ^ c; }
#endif

constexpr int kWidth = sizeof(Lanes) / sizeof(std::uint64_t);

struct Counter {
    Lanes c[4];

    inline void round(std::uint64_t k0, std::uint64_t k1) {
        const Lanes p0 = multiply(c[0], Lanes{} + 0xD2511F53u), p1 = multiply(c[2], Lanes{} + 0xCD9E8D57u);
        c[0] = mix(p1 >> 32, c[1], Lanes{} + k0);
        c[1] = p1;
        c[2] = mix(p0 >> 32, c[3], Lanes{} + k1);
        c[3] = p0;
    }
};

// Blocks first .. first + 15 of the stream (input, sample, place): word j of block first + b goes to words[16 j + b].
inline void sixteen(std::uint32_t* words, std::uint64_t seed, std::uint32_t first, std::uint32_t input,
                    std::uint32_t sample, std::uint32_t place) {
    Lanes lane;
    for (int i = 0; i < kWidth; ++i) lane[i] = 2 * i;
    for (int begin = 0; begin < 16; begin += 2 * kWidth) {
        // Even and odd blocks run in separate lanes.
        Counter even, odd;
        even.c[0] = lane + (std::uint64_t)(first + (std::uint32_t)begin);
        odd.c[0] = even.c[0] + 1;
        even.c[1] = odd.c[1] = Lanes{} + input;
        even.c[2] = odd.c[2] = Lanes{} + sample;
        even.c[3] = odd.c[3] = Lanes{} + place;
        std::uint32_t k0 = (std::uint32_t)seed, k1 = (std::uint32_t)(seed >> 32);
#pragma GCC unroll 10
        for (int i = 0; i < 10; ++i) {
            even.round(k0, k1);
            odd.round(k0, k1);
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        for (int j = 0; j < 4; ++j) {
            const Lanes merged = (even.c[j] & 0xffffffffu) | (odd.c[j] << 32);
            std::memcpy(words + 16 * j + begin, &merged, sizeof merged);
        }
    }
}

}  // namespace philox
}  // namespace nsm::NSM_INSTRUCTION_SET
