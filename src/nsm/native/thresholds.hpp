// From the argument of a neuron's firing probability to its threshold. For inclusion in files that are compiled once for each
// instruction set.
#pragma once

#include "program.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

using i8 = std::int8_t;
using i32 = std::int32_t;
using i64 = std::int64_t;
using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;

// 2^17 (1 - Phi(y / kArgument)) for y = 2048 k + f, f < 2048: kBase[k] - F (kSlope[k] - F kCurve[k]), F = f / 2048,
// fitted segment by segment to the smallest largest error.
alignas(64) constexpr u16 kBase[32] = {
    65535, 58418, 51432, 44702, 38337, 32427, 27044, 22229, 18003, 14361, 11281, 8724, 6640, 4973, 3665, 2657,
    1894,  1328,  916,   620,   413,   271,   174,   110,   68,    41,    24,    14,   8,    3,    1,    2};
alignas(64) constexpr u16 kSlope[32] = {7150, 7084, 6887, 6575, 6160, 5656, 5107, 4519, 3930, 3350, 2805,
                                        2306, 1858, 1469, 1142, 871,  650,  477,  346,  243,  169,  117,
                                        77,   50,   32,   21,   12,   7,    5,    0,    0,    3};
alignas(64) constexpr u16 kCurve[32] = {33,  98, 156, 209, 251, 273, 293, 293, 289, 270, 248, 223, 192, 162, 135, 109,
                                        85,  65, 51,  37,  27,  20,  13,  8,   6,   5,   3,   0,   2,   0,   0,   0};
constexpr float kLargest = 65535.0f;
constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: adding it rounds |x| < 2^22 to the nearest integer, ties to even

// 65536 (1 - Phi(|argument| / kArgument)), rounded; 0 from 4.37 standard deviations on.
inline u16 tail(float argument) {
    const float size = __builtin_fabsf(argument);
    const float bounded = size < kLargest ? size : kLargest;
    const u32 y = (u32)(i32)((bounded + kMagic) - kMagic);
    const u32 k = y >> 11, f = (y << 5) & 0xffffu;
    const u32 twice = kBase[k] - (f * (kSlope[k] - (f * kCurve[k] >> 16)) >> 16);
    return (u16)((twice + 1) >> 1);
}

inline float argument_of(float mean, float variance) {
    const float sure = mean >= 0.0f ? __builtin_inff() : -__builtin_inff();
    return variance > 0.0f ? mean / __builtin_sqrtf(variance) : sure;
}

inline void limits(const float* argument, i64 count, u16* __restrict limit, u16* __restrict side) {
    for (i64 i = 0; i < count; ++i) {
        limit[i] = tail(argument[i]);
        side[i] = argument[i] >= 0.0f ? 1 : 0;
    }
}

// 1 - Phi(y / kArgument) = kLevel[k] + f (kFall[k] + f kBend[k]) in float32, y and k as above, f < 2048: a parabola through
// each segment's Chebyshev points.
alignas(64) constexpr float kLevel[32] = {
    0.500005245f, 0.445704848f, 0.39240545f, 0.341053426f, 0.292489976f, 0.24741061f, 0.206337035f, 0.169603452f,
    0.137357116f, 0.109571919f, 0.0860722065f, 0.0665635467f, 0.0506667905f, 0.0379521213f, 0.027970124f,
    0.0202780142f, 0.0144598056f, 0.0101401573f, 0.00699224137f, 0.00474052737f, 0.00315957493f, 0.00207004417f,
    0.00133303041f, 0.000843672256f, 0.000524743868f, 0.000320722902f, 0.000192616382f, 0.000113660819f,
    6.58958816e-05f, 3.75329837e-05f, 2.10016915e-05f, 1.1544159e-05f};
alignas(64) constexpr float kFall[32] = {
    -2.66423795e-05f, -2.6393438e-05f, -2.56623061e-05f, -2.44890925e-05f, -2.29365196e-05f, -2.10843718e-05f,
    -1.9022722e-05f, -1.68447277e-05f, -1.46397988e-05f, -1.24878152e-05f, -1.0454869e-05f, -8.59076499e-06f,
    -6.92830008e-06f, -5.48407752e-06f, -4.26052293e-06f, -3.24866573e-06f, -2.43125442e-06f, -1.78582707e-06f,
    -1.28745592e-06f, -9.10981782e-07f, -6.32662022e-07f, -4.3123984e-07f, -2.88503713e-07f, -1.8943912e-07f,
    -1.22088281e-07f, -7.72262112e-08f, -4.79448765e-08f, -2.92150517e-08f, -1.74726367e-08f, -1.02564686e-08f,
    -5.90915183e-09f, -3.34149375e-09f};
alignas(64) constexpr float kBend[32] = {
    6.02982456e-11f, 1.77614409e-10f, 2.85216684e-10f, 3.77610193e-10f, 4.50642718e-10f, 5.01802933e-10f,
    5.30324895e-10f, 5.37101308e-10f, 5.24431165e-10f, 4.95651409e-10f, 4.5470927e-10f, 4.05735306e-10f,
    3.52666479e-10f, 2.98955055e-10f, 2.4738131e-10f, 1.99970582e-10f, 1.58002042e-10f, 1.2208716e-10f,
    9.22923474e-11f, 6.82809295e-11f, 4.94536495e-11f, 3.50728821e-11f, 2.43619985e-11f, 1.65769447e-11f,
    1.10514115e-11f, 7.21964415e-12f, 4.62225874e-12f, 2.90056564e-12f, 1.78420744e-12f, 1.07592461e-12f,
    6.36103583e-13f, 3.68736048e-13f};

// P(z = -1).
inline float silent(float argument) {
    const float size = __builtin_fabsf(argument);
    const float bounded = size < kLargest ? size : kLargest;
    const i32 y = (i32)((bounded + kMagic) - kMagic), k = y >> 11;
    const float f = (float)(y & 0x7ff);
    const float level = (kBend[k] * f + kFall[k]) * f + kLevel[k], tail = y < 65535 ? level : 0.0f;
    return argument >= 0.0f ? tail : 1.0f - tail;
}

// The threshold of a maximum of neurons, from the product of their P(z = -1).
inline void limit_of(float product, u16& limit, u16& side) {
    const i32 whole = (i32)((65536.0f * product + kMagic) - kMagic);
    side = whole < 65536 ? 1 : 0;
    limit = (u16)whole;
}

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
