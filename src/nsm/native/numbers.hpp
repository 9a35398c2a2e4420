// Number formats, the threshold of a neuron and the slope of its probability: the same bits on every instruction set.
// For inclusion in files that are compiled once for each of them. No standard library templates there: the linker would
// share their code between instruction sets.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels.hpp"
#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

using i64 = std::int64_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

inline u32 bits(float x) {
    u32 b;
    std::memcpy(&b, &x, sizeof b);
    return b;
}

inline float from_bits(u32 b) {
    float x;
    std::memcpy(&x, &b, sizeof x);
    return x;
}

struct Bfloat16 {
    std::uint16_t bits;
};

inline float load(float x) { return x; }
inline float load(Bfloat16 x) { return from_bits((u32)x.bits << 16); }

inline void store(float& to, float x) { to = x; }
inline void store(Bfloat16& to, float x) {
    const u32 b = bits(x), rounded = (b + 0x7fffu + ((b >> 16) & 1u)) >> 16;
    to.bits = (std::uint16_t)(x == x ? rounded : 0x7fc0u);
}

constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: adding it rounds |x| < 2^22 to the nearest integer, ties to even
constexpr float kLog2E = 1.44269504f;

inline float exp2_fraction(float f) {
    float v = 0.000154697362f;
    v = v * f + 0.00134004369f;
    v = v * f + 0.00961802559f;
    v = v * f + 0.055503272f;
    v = v * f + 0.240226512f;
    v = v * f + 0.693147207f;
    return v * f + 1.0f;
}

// erfc(s) exp(s^2) / t for t = 1 / (1 + s / 2), s >= 0.
inline float tail_polynomial(float t) {
    float r = -0.0339728185f;
    r = r * t + 0.153400752f;
    r = r * t + -0.193444831f;
    r = r * t + -0.0894991147f;
    r = r * t + 0.254007697f;
    r = r * t + 0.06901716f;
    r = r * t + 0.281839346f;
    r = r * t + 0.276138519f;
    return r * t + 0.282513288f;
}

// nsm.functional.threshold24, operation by operation.
inline float threshold24(float s) {
    float x = from_bits(bits(s) & 0x7fffffffu);
    x = x > 4.75f ? 4.75f : x;
    const float t = 1.0f / (1.0f + 0.5f * x);
    const float y = x * x * -kLog2E;
    const float shifted = y + kMagic, whole = shifted - kMagic;
    const float power = exp2_fraction(y - whole);
    const float scale = from_bits((bits(shifted) << 23) + (150u << 23));  // 2^(whole + 23)
    const float exact = t * tail_polynomial(t) * power * scale;
    const float tail = (exact + 8388608.0f) - 8388608.0f;  // exact <= 2^23: rounds to the nearest integer, ties to even
    return s >= 0.0f ? 16777216.0f - tail : tail;
}

// The argument of erf, nsm.functional.standardize operation by operation: u is w z, power the sum of (w_j z_j)^2.
inline float argument(float u, float power, float gain, float bias, float variance, float extra) {
    const float scaled = u * gain, mean = scaled + bias;
    const float shared = power * variance, total = shared + extra;
    const float sure = mean >= 0.0f ? __builtin_inff() : -__builtin_inff();
    const float ratio = mean / __builtin_sqrtf(2.0f * total);
    return total == 0.0f ? sure : ratio;
}

constexpr float kUnit = 1.0f / 16777216.0f;

// P(z' = -1), a multiple of 2^-24.
inline float silence(float s) { return (16777216.0f - threshold24(s)) * kUnit; }

// From the product of a window's silences to the threshold of its maximum.
inline float maximum_threshold(float silent) {
    const float exact = silent * 16777216.0f;
    const float rounded = exact < 8388608.0f ? (exact + 8388608.0f) - 8388608.0f : exact;
    return 16777216.0f - rounded;
}

// a b + c, rounded once where the processor can. For estimates alone, whose last bits decide nothing.
inline float fused(float a, float b, float c) {
#if defined(__FMA__) || defined(__AVX512F__) || defined(__ARM_FEATURE_FMA)
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

// P(z' = -1) to within kMargin for less than half of the operations, as silent / all. A window's is the product of silent over
// that of all, to within kMargin for each of its neurons. Is NaN where s is. The form is that of Abramowitz and Stegun,
// 7.1.27, erfc(x) = 1 / (1 + a1 x + ... + a4 x^4)^16; the coefficients are fitted.
constexpr float kMargin = 450.0f * kUnit;
constexpr i64 kFewNeurons = 4;  // of a window: products of more could overflow

inline void estimate(float s, float& silent, float& all) {
    constexpr float largest = 3.25f;  // beyond it erfc is 0 to within the margin
    const float size = from_bits(bits(s) & 0x7fffffffu), x = largest < size ? largest : size;
    float power = 0.00147765083f;
    power = fused(power, x, 0.0076435958f);
    power = fused(power, x, 0.042982012f);
    power = fused(power, x, 0.0704381317f);
    power = fused(power, x, 1.0f);
    power *= power, power *= power, power *= power, power *= power;
    all = power;
    silent = s >= 0.0f ? 0.5f : power - 0.5f;
}

template <Estimator estimator>
struct Chosen {
    static constexpr Estimator value = estimator;
};

// Calls `work` with the one that a job names.
template <typename Work>
inline void with_estimator(i64 estimator, const Work& work) {
    if (estimator == (i64)Estimator::probability)
        work(Chosen<Estimator::probability>());
    else if (estimator == (i64)Estimator::smoothed)
        work(Chosen<Estimator::smoothed>());
    else
        work(Chosen<Estimator::straight_through>());
}

// exp(-x^2), 0 below 2^-126.
inline float bell(float x) {
    const float y = x * x * -kLog2E;
    const float bounded = y < -126.0f ? -126.0f : y;
    const float shifted = bounded + kMagic, whole = shifted - kMagic;
    const float value = exp2_fraction(bounded - whole) * from_bits((bits(shifted) << 23) + (127u << 23));
    return y < -126.0f ? 0.0f : value;
}

// The derivative of E[z'] as an estimator sees it: 1 in a window, or that of erf(s) or erf(s / 2).
template <Estimator estimator>
inline float slope(float s) {
    if (estimator == Estimator::straight_through) return from_bits(bits(s) & 0x7fffffffu) <= 1.0f ? 1.0f : 0.0f;
    constexpr float width = estimator == Estimator::smoothed ? 0.5f : 1.0f;
    return width * 1.12837917f * bell(width * s);
}

// For gradients: the slope, and P(z' = -1) before it is rounded. Of erf both have the same factor exp(-s^2).
template <Estimator estimator>
inline float slope_and_silence(float s, float& silent) {
    const float factor = bell(s), t = 1.0f / (1.0f + 0.5f * from_bits(bits(s) & 0x7fffffffu));
    const float tail = t * tail_polynomial(t) * (0.5f * factor);
    silent = s >= 0.0f ? tail : 1.0f - tail;
    return estimator == Estimator::probability ? 1.12837917f * factor : slope<estimator>(s);
}

// Denormals (exp(-s^2) makes many) are flushed inside the loops and nowhere else.
class FlushDenormals {
#if defined(__SSE2__)
    unsigned saved_ = _mm_getcsr();

public:
    FlushDenormals() { _mm_setcsr(saved_ | 0x8040u); }
    ~FlushDenormals() { _mm_setcsr(saved_); }
#elif defined(__aarch64__)
    std::uint64_t saved_;

    static void set(std::uint64_t mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }

public:
    FlushDenormals() {
        asm volatile("mrs %0, fpcr" : "=r"(saved_));
        set(saved_ | 1u << 24);
    }
    ~FlushDenormals() { set(saved_); }
#else
public:
    FlushDenormals() {}
#endif
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;
};

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
