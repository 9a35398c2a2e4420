// The loops, compiled once for each instruction set under the name NSM_INSTRUCTION_SET. No standard library templates
// here: the linker would share their code between instruction sets.
#include "kernels.hpp"

#include <cstring>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

using i64 = std::int64_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

// ---- Philox4x32-10: 64-bit lanes of which only the low half counts, as the widening multiplication reads just that

#if defined(__AVX512F__)
typedef u64 Lanes __attribute__((vector_size(64)));
inline Lanes multiply(Lanes a, Lanes b) { return (Lanes)_mm512_mul_epu32((__m512i)a, (__m512i)b); }
#elif defined(__AVX2__)
typedef u64 Lanes __attribute__((vector_size(32)));
inline Lanes multiply(Lanes a, Lanes b) { return (Lanes)_mm256_mul_epu32((__m256i)a, (__m256i)b); }
#else
typedef u64 Lanes __attribute__((vector_size(16)));
#if defined(__SSE2__)
inline Lanes multiply(Lanes a, Lanes b) { return (Lanes)_mm_mul_epu32((__m128i)a, (__m128i)b); }
#else
inline Lanes multiply(Lanes a, Lanes b) { return (a & 0xffffffffu) * (b & 0xffffffffu); }
#endif
#endif

constexpr int kWidth = sizeof(Lanes) / sizeof(u64);

struct Counter {
    Lanes c[4];

    inline void round(u32 k0, u32 k1) {
        const Lanes p0 = multiply(c[0], Lanes{} + 0xD2511F53u), p1 = multiply(c[2], Lanes{} + 0xCD9E8D57u);
        c[0] = (p1 >> 32) ^ c[1] ^ (u64)k0;
        c[1] = p1;
        c[2] = (p0 >> 32) ^ c[3] ^ (u64)k1;
        c[3] = p0;
    }
};

// The 64 words of group `group`: word j of block b goes to words[16 j + b]. Even and odd blocks run in separate lanes.
inline void draw_group(u32* words, u64 seed, u32 group, u32 input, u32 sample, u32 place) {
    Lanes lane;
    for (int i = 0; i < kWidth; ++i) lane[i] = 2 * i;
    for (int first = 0; first < 16; first += 2 * kWidth) {
        Counter even, odd;
        even.c[0] = lane + (u64)(group * 16 + first);
        odd.c[0] = even.c[0] + 1;
        even.c[1] = odd.c[1] = Lanes{} + input;
        even.c[2] = odd.c[2] = Lanes{} + sample;
        even.c[3] = odd.c[3] = Lanes{} + place;
        u32 k0 = (u32)seed, k1 = (u32)(seed >> 32);
        for (int i = 0; i < 10; ++i) {
            even.round(k0, k1);
            odd.round(k0, k1);
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        for (int j = 0; j < 4; ++j) {
            const Lanes merged = (even.c[j] & 0xffffffffu) | (odd.c[j] << 32);
            std::memcpy(words + 16 * j + first, &merged, sizeof merged);
        }
    }
}

// ---- numbers

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

// nsm.functional.threshold24, operation by operation.
inline float threshold24(float s) {
    float x = from_bits(bits(s) & 0x7fffffffu);
    x = x > 4.75f ? 4.75f : x;
    const float t = 1.0f / (1.0f + 0.5f * x);
    const float y = x * x * -kLog2E;
    const float shifted = y + kMagic, whole = shifted - kMagic;
    const float power = exp2_fraction(y - whole);
    const float scale = from_bits((bits(shifted) << 23) + (150u << 23));  // 2^(whole + 23)
    float r = -0.0339728185f;
    r = r * t + 0.153400752f;
    r = r * t + -0.193444831f;
    r = r * t + -0.0894991147f;
    r = r * t + 0.254007697f;
    r = r * t + 0.06901716f;
    r = r * t + 0.281839346f;
    r = r * t + 0.276138519f;
    r = r * t + 0.282513288f;
    const float exact = t * r * power * scale;
    const float tail = (exact + 8388608.0f) - 8388608.0f;  // exact <= 2^23: rounds to the nearest integer, ties to even
    return s >= 0.0f ? 16777216.0f - tail : tail;
}

inline float slope(float s, bool straight_through) {
    if (straight_through) return from_bits(bits(s) & 0x7fffffffu) <= 1.0f ? 1.0f : 0.0f;
    const float y = s * s * -kLog2E;
    const float bounded = y < -126.0f ? -126.0f : y;
    const float shifted = bounded + kMagic, whole = shifted - kMagic;
    const float value = exp2_fraction(bounded - whole) * from_bits((bits(shifted) << 23) + (127u << 23));
    return y < -126.0f ? 0.0f : 1.12837917f * value;
}

// ---- forward

// One uniform 24-bit number against one threshold; a broken threshold stays visible as NaN.
template <typename T>
inline void decide(const u32* words, const float* threshold, i64 count, T* __restrict z) {
    for (i64 i = 0; i < count; ++i) {
        const float limit = threshold[i];
        const float fired = (float)(std::int32_t)(words[i] >> 8) < limit ? 1.0f : -1.0f;
        store(z[i], limit == limit ? fired : limit);
    }
}

// by_run: one scale and one shift for all of them.
template <bool by_run, typename T>
inline void thresholds(const T* u, const float* scale, const float* shift, i64 count, float* __restrict to) {
    for (i64 i = 0; i < count; ++i) {
        const float product = load(u[i]) * scale[by_run ? 0 : i];
        to[i] = threshold24(product + shift[by_run ? 0 : i]);
    }
}

template <typename Job>
inline void draw(const Job& job, i64 row, i64 group, u32* words) {
    draw_group(words, job.seed, (u32)group, (u32)job.rows[2 * row + 1], (u32)job.rows[2 * row], job.place);
}

// Samples of elements first .. first + count of the stream, which lie side by side, for rows begin .. end.
template <typename T, typename Job>
void decide_side_by_side(const Job& job, i64 begin, i64 end, i64 first, i64 count, const float* threshold) {
    const i64 size = job.positions * job.channels;
    alignas(64) u32 words[kGroup];
    for (i64 row = begin; row < end; ++row) {
        T* z = static_cast<T*>(job.z) + row * size + first;
        for (i64 e = 0; e < count; e += kGroup) {
            draw(job, row, (first + e) / kGroup, words);
            if (count - e >= kGroup)
                decide(words, threshold + e, kGroup, z + e);
            else
                decide(words, threshold + e, count - e, z + e);
        }
    }
}

template <typename T>
void fire_channel_last(const Fire& job, i64 begin, i64 end, i64 first, i64 count, const T* u, float* threshold) {
    i64 at = job.shared ? first % job.channels : first;
    for (i64 e = 0; e < count; e += kGroup) {
        const i64 n = count - e < kGroup ? count - e : kGroup;
        thresholds<false>(u + first + e, job.scale + at, job.shift + at, n, threshold + e);
        at = job.shared ? (at + kGroup) % job.channels : at + kGroup;
    }
    decide_side_by_side<T>(job, begin, end, first, count, threshold);
}

typedef u32 Quad __attribute__((vector_size(16)));

// to[c * stride + p] = from[p * channels + c], in squares of four.
inline void turn(const u32* from, i64 positions, i64 channels, u32* to, i64 stride) {
    const i64 whole = positions / 4 * 4;
    i64 c = 0;
    for (; c + 4 <= channels; c += 4)
        for (i64 p = 0; p < whole; p += 4) {
            Quad row[4];
            for (int i = 0; i < 4; ++i) std::memcpy(&row[i], from + (p + i) * channels + c, sizeof(Quad));
            const Quad low01 = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5);
            const Quad high01 = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
            const Quad low23 = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
            const Quad high23 = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
            const Quad column[4] = {
                __builtin_shufflevector(low01, low23, 0, 1, 4, 5), __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
                __builtin_shufflevector(high01, high23, 0, 1, 4, 5), __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
            for (int i = 0; i < 4; ++i) std::memcpy(to + (c + i) * stride + p, &column[i], sizeof(Quad));
        }
    for (i64 k = 0; k < channels; ++k)
        for (i64 p = k < c ? whole : 0; p < positions; ++p) to[k * stride + p] = from[p * channels + k];
}

// All channels of positions first .. first + count.
template <typename T>
void fire_position_last(const Fire& job, i64 begin, i64 end, i64 first, i64 count, const T* u, float* threshold) {
    const i64 size = job.positions * job.channels, stride = position_chunk(job);
    for (i64 c = 0; c < job.channels; ++c) {
        const i64 at = c * job.positions + first;
        float* to = threshold + c * stride;
        if (job.shared)
            thresholds<true>(u + at, job.scale + c, job.shift + c, count, to);
        else
            thresholds<false>(u + at, job.scale + at, job.shift + at, count, to);
    }
    u32* turned = reinterpret_cast<u32*>(threshold + stride * job.channels);
    u32* words = turned + stride * job.channels;
    for (i64 row = begin; row < end; ++row) {
        // 64 positions begin with a group, whatever the number of channels.
        for (i64 p = 0; p < count; p += kGroup) {
            const i64 n = count - p < kGroup ? count - p : kGroup;
            for (i64 e = 0; e < n * job.channels; e += kGroup)
                draw(job, row, ((first + p) * job.channels + e) / kGroup, words + e);
            turn(words, n, job.channels, turned + p, stride);
        }
        for (i64 c = 0; c < job.channels; ++c) {
            T* z = static_cast<T*>(job.z) + row * size + c * job.positions + first;
            decide(turned + c * stride, threshold + c * stride, count, z);
        }
    }
}

template <typename T>
void fire_rows_of(const Fire& job, i64 first_row, i64 last_row, float* scratch) {
    const bool channel_last = job.order == Order::channel_last;
    const i64 size = channel_last ? job.positions * job.channels : job.positions;
    const i64 chunk = channel_last ? kChunk : position_chunk(job);
    for (i64 begin = first_row; begin < last_row;) {
        // The samples of one input share its thresholds.
        const i64 n = begin / job.samples;
        const i64 end = (n + 1) * job.samples < last_row ? (n + 1) * job.samples : last_row;
        const T* u = static_cast<const T*>(job.u) + n * job.u_stride;
        for (i64 first = 0; first < size; first += chunk) {
            const i64 count = size - first < chunk ? size - first : chunk;
            (channel_last ? fire_channel_last<T> : fire_position_last<T>)(job, begin, end, first, count, u, scratch);
        }
        begin = end;
    }
}

void fire_rows(const Fire& job, i64 first_row, i64 last_row, float* scratch) {
    if (job.type == Type::float32)
        fire_rows_of<float>(job, first_row, last_row, scratch);
    else
        fire_rows_of<Bfloat16>(job, first_row, last_row, scratch);
}

// ---- forward of the maximum

constexpr float kUnit = 1.0f / 16777216.0f;

// to[i] (times) P(z' = -1), a multiple of 2^-24.
template <bool first, typename T>
inline void silences(const T* u, const float* scale, const float* shift, i64 count, float* __restrict to) {
    for (i64 i = 0; i < count; ++i) {
        const float product = load(u[i]) * scale[i];
        const float silent = (16777216.0f - threshold24(product + shift[i])) * kUnit;
        to[i] = first ? silent : to[i] * silent;
    }
}

template <typename T>
void fire_max_chunk(const FireMax& job, i64 begin, i64 end, i64 first, i64 count, const T* u, float* threshold) {
    for (i64 e = 0; e < count;) {
        const i64 p = (first + e) / job.channels, c = (first + e) % job.channels;
        const i64 run = job.channels - c < count - e ? job.channels - c : count - e;
        for (i64 k = 0; k < job.window; ++k) {
            const T* from = u + job.origin[p] + job.member[k] + c;
            const i64 at = job.shared ? c : (p * job.window + k) * job.channels + c;
            if (k)
                silences<false>(from, job.scale + at, job.shift + at, run, threshold + e);
            else
                silences<true>(from, job.scale + at, job.shift + at, run, threshold + e);
        }
        e += run;
    }
    for (i64 e = 0; e < count; ++e) {
        const float exact = threshold[e] * 16777216.0f;
        const float rounded = exact < 8388608.0f ? (exact + 8388608.0f) - 8388608.0f : exact;
        threshold[e] = 16777216.0f - rounded;
    }
    decide_side_by_side<T>(job, begin, end, first, count, threshold);
}

template <typename T>
void fire_max_rows_of(const FireMax& job, i64 first_row, i64 last_row, float* scratch) {
    const i64 size = job.positions * job.channels;
    for (i64 begin = first_row; begin < last_row;) {
        const i64 n = begin / job.samples;
        const i64 end = (n + 1) * job.samples < last_row ? (n + 1) * job.samples : last_row;
        const T* u = static_cast<const T*>(job.u) + n * job.u_stride;
        for (i64 first = 0; first < size; first += kChunk)
            fire_max_chunk<T>(job, begin, end, first, size - first < kChunk ? size - first : kChunk, u, scratch);
        begin = end;
    }
}

void fire_max_rows(const FireMax& job, i64 first_row, i64 last_row, float* scratch) {
    if (job.type == Type::float32)
        fire_max_rows_of<float>(job, first_row, last_row, scratch);
    else
        fire_max_rows_of<Bfloat16>(job, first_row, last_row, scratch);
}

// ---- backward

// Denormals (exp(-s^2) makes many) are flushed inside the loops and nowhere else.
class FlushDenormals {
#if defined(__SSE2__)
    unsigned saved_ = _mm_getcsr();

public:
    FlushDenormals() { _mm_setcsr(saved_ | 0x8040u); }
    ~FlushDenormals() { _mm_setcsr(saved_); }
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;
#endif
};

constexpr i64 kBlock = 256;

template <typename T, bool straight_through, bool by_run>
void backward_of(const FireBackward& job, const Part& part) {
    const i64 size = job.outer * job.inner;
    alignas(64) float total[kBlock], g[kBlock], product[kBlock];
    for (i64 n = part.first_input; n < part.last_input; ++n) {
        for (i64 o = 0; o < job.outer; ++o) {
            // Sixteen partial sums of a run: their order is fixed here, not by the compiler.
            float sums[16] = {}, products[16] = {};
            for (i64 first = part.first; first < part.last; first += kBlock) {
                const i64 count = part.last - first < kBlock ? part.last - first : kBlock, at = o * job.inner + first;
                const T* u = static_cast<const T*>(job.u) + n * job.u_stride + at;
                const T* grad = static_cast<const T*>(job.grad) + n * job.samples * size + at;
                T* grad_u = static_cast<T*>(job.grad_u) + n * size + at;
                for (i64 i = 0; i < count; ++i) total[i] = load(grad[i]);
                for (i64 k = 1; k < job.samples; ++k)
                    for (i64 i = 0; i < count; ++i) total[i] += load(grad[k * size + i]);
                const float* scale = job.scale + (by_run ? o : first);
                const float* shift = job.shift + (by_run ? o : first);
                for (i64 i = 0; i < count; ++i) {
                    const float x = load(u[i]), a = scale[by_run ? 0 : i], b = shift[by_run ? 0 : i];
                    g[i] = total[i] * slope(x * a + b, straight_through);
                    product[i] = g[i] * x;
                    store(grad_u[i], g[i] * a);
                }
                if (by_run) {
                    const i64 padded = (count + 15) / 16 * 16;
                    for (i64 i = count; i < padded; ++i) g[i] = product[i] = 0.0f;
                    for (i64 i = 0; i < padded; i += 16)
                        for (i64 j = 0; j < 16; ++j) sums[j] += g[i + j], products[j] += product[i + j];
                } else {
                    for (i64 i = 0; i < count; ++i) part.by_scale[first + i] += product[i];
                    for (i64 i = 0; i < count; ++i) part.by_shift[first + i] += g[i];
                }
            }
            if (by_run)
                for (i64 j = 0; j < 16; ++j) part.by_shift[o] += sums[j], part.by_scale[o] += products[j];
        }
    }
}

template <typename T>
void backward_typed(const FireBackward& job, const Part& part) {
    if (job.straight_through)
        job.by_run ? backward_of<T, true, true>(job, part) : backward_of<T, true, false>(job, part);
    else
        job.by_run ? backward_of<T, false, true>(job, part) : backward_of<T, false, false>(job, part);
}

void fire_backward(const FireBackward& job, const Part& part) {
    const FlushDenormals flush;
    if (job.type == Type::float32)
        backward_typed<float>(job, part);
    else
        backward_typed<Bfloat16>(job, part);
}

// ---- backward of the maximum

constexpr i64 kRun = 64;

// Neuron k of a window: silent P(z'_k = -1); before: product of those before k, then with k.
template <typename T>
inline void go_forward(const T* u, const float* scale, const float* shift, i64 count, float* __restrict silent,
                       const float* __restrict before, float* __restrict with) {
    for (i64 i = 0; i < count; ++i) {
        silent[i] = (16777216.0f - threshold24(load(u[i]) * scale[i] + shift[i])) * kUnit;
        with[i] = before[i] * silent[i];
    }
}

// after: product of those after k, then with k.
template <bool straight_through, typename T>
inline void go_back(const T* u, const float* scale, const float* shift, const float* total, const float* silent,
                    const float* before, i64 count, float* __restrict after, T* __restrict grad_u,
                    float* __restrict by_scale, float* __restrict by_shift) {
    for (i64 i = 0; i < count; ++i) {
        const float x = load(u[i]), a = scale[i];
        const float g = total[i] * (before[i] * after[i]) * slope(x * a + shift[i], straight_through);
        after[i] *= silent[i];
        store(grad_u[i], g * a);
        by_scale[i] += g * x;
        by_shift[i] += g;
    }
}

template <typename T, bool straight_through>
void max_backward_of(const FireMaxBackward& job, const Part& part) {
    const i64 size = job.positions * job.channels;
    alignas(64) float silent[kLargestWindow][kRun], before[kLargestWindow + 1][kRun], total[kRun], after[kRun];
    for (float& one : before[0]) one = 1.0f;
    for (i64 n = part.first_input; n < part.last_input; ++n) {
        const T* u = static_cast<const T*>(job.u) + n * job.u_stride;
        T* grad_u = static_cast<T*>(job.grad_u) + n * job.grad_u_stride;
        for (i64 p = 0; p < job.positions; ++p)
            for (i64 c = 0; c < job.channels; c += kRun) {
                const i64 run = job.channels - c < kRun ? job.channels - c : kRun;
                const T* grad = static_cast<const T*>(job.grad) + n * job.samples * size + p * job.channels + c;
                for (i64 i = 0; i < run; ++i) total[i] = load(grad[i]), after[i] = 1.0f;
                for (i64 k = 1; k < job.samples; ++k)
                    for (i64 i = 0; i < run; ++i) total[i] += load(grad[k * size + i]);
                for (i64 k = 0; k < job.window; ++k) {
                    const i64 at = job.shared ? c : (p * job.window + k) * job.channels + c;
                    const T* from = u + job.origin[p] + job.member[k] + c;
                    go_forward(from, job.scale + at, job.shift + at, run, silent[k], before[k], before[k + 1]);
                }
                for (i64 k = job.window; k-- > 0;) {
                    const i64 at = job.shared ? c : (p * job.window + k) * job.channels + c;
                    const T* from = u + job.origin[p] + job.member[k] + c;
                    T* to = grad_u + job.grad_origin[p] + job.grad_member[k] + c;
                    go_back<straight_through>(from, job.scale + at, job.shift + at, total, silent[k], before[k], run, after,
                                              to, part.by_scale + at, part.by_shift + at);
                }
            }
    }
}

void fire_max_backward(const FireMaxBackward& job, const Part& part) {
    const FlushDenormals flush;
    if (job.type == Type::float32)
        job.straight_through ? max_backward_of<float, true>(job, part) : max_backward_of<float, false>(job, part);
    else
        job.straight_through ? max_backward_of<Bfloat16, true>(job, part) : max_backward_of<Bfloat16, false>(job, part);
}

// ---- where the inputs decide the variance

template <bool by_run>
inline void standardize_run(const float* u, const float* power, const float* gain, const float* bias, float variance,
                            float extra, i64 count, float* __restrict s) {
    for (i64 i = 0; i < count; ++i) {
        const float scaled = u[i] * gain[by_run ? 0 : i], mean = scaled + bias[by_run ? 0 : i];
        const float shared = power[i] * variance, total = shared + extra;
        const float sure = mean >= 0.0f ? __builtin_inff() : -__builtin_inff();
        const float ratio = mean / __builtin_sqrtf(2.0f * total);
        s[i] = total == 0.0f ? sure : ratio;
    }
}

void standardize(const Standardize& job, i64 first_input, i64 last_input) {
    const i64 size = job.outer * job.inner;
    for (i64 n = first_input; n < last_input; ++n)
        for (i64 o = 0; o < job.outer; ++o) {
            const float *u = job.u + n * job.u_stride + o * job.inner,
                        *power = job.power + n * job.power_stride + o * job.inner;
            float* s = job.s + n * size + o * job.inner;
            if (job.by_run)
                standardize_run<true>(u, power, job.gain + o, job.bias + o, job.variance, job.extra, job.inner, s);
            else
                standardize_run<false>(u, power, job.gain, job.bias, job.variance, job.extra, job.inner, s);
        }
}

// by_gain and by_bias: sums of the run where by_run (sixteen partial ones each), else one for each element.
template <bool by_run>
inline void standardize_back(const float* u, const float* power, const float* gain, const float* bias,
                             const float* grad, float variance, float extra, i64 count, float* __restrict grad_u,
                             float* __restrict grad_power, float* __restrict by_gain, float* __restrict by_bias) {
    for (i64 i = 0; i < count; ++i) {
        const float x = u[i], a = gain[by_run ? 0 : i], mean = x * a + bias[by_run ? 0 : i];
        const float total = power[i] * variance + extra, safe = total == 0.0f ? 1.0f : total;
        const float g = total == 0.0f ? 0.0f : grad[i] / __builtin_sqrtf(2.0f * safe);
        grad_u[i] = g * a;
        grad_power[i] = g * mean * (-0.5f * variance) / safe;
        by_gain[i] = by_run ? g * x : by_gain[i] + g * x;
        by_bias[i] = by_run ? g : by_bias[i] + g;
    }
}

// The sum in an order that is fixed here, not by the compiler; up to 15 elements behind x are set to 0.
inline float fixed_sum(float* x, i64 count) {
    const i64 padded = (count + 15) / 16 * 16;
    for (i64 i = count; i < padded; ++i) x[i] = 0.0f;
    float sums[16] = {}, sum = 0.0f;
    for (i64 i = 0; i < padded; i += 16)
        for (i64 j = 0; j < 16; ++j) sums[j] += x[i + j];
    for (float part : sums) sum += part;
    return sum;
}

void standardize_backward(const Standardize& job, const Part& part) {
    const FlushDenormals flush;
    const i64 size = job.outer * job.inner;
    alignas(64) float by_gain[kBlock], by_bias[kBlock];
    for (i64 n = part.first_input; n < part.last_input; ++n)
        for (i64 o = 0; o < job.outer; ++o)
            for (i64 first = 0; first < job.inner; first += kBlock) {
                const i64 count = job.inner - first < kBlock ? job.inner - first : kBlock, at = o * job.inner + first;
                const float *u = job.u + n * job.u_stride + at, *power = job.power + n * job.power_stride + at,
                            *grad = job.grad + n * size + at;
                float *grad_u = job.grad_u + n * size + at, *grad_power = job.grad_power + n * size + at;
                if (job.by_run) {
                    standardize_back<true>(u, power, job.gain + o, job.bias + o, grad, job.variance, job.extra, count,
                                           grad_u, grad_power, by_gain, by_bias);
                    part.by_scale[o] += fixed_sum(by_gain, count);
                    part.by_shift[o] += fixed_sum(by_bias, count);
                } else {
                    standardize_back<false>(u, power, job.gain + first, job.bias + first, grad, job.variance, job.extra,
                                            count, grad_u, grad_power, part.by_scale + first, part.by_shift + first);
                }
            }
}

}  // namespace

#define NSM_TEXT(x) #x
#define NSM_NAME(x) NSM_TEXT(x)
extern const Kernels kernels;
const Kernels kernels{NSM_NAME(NSM_INSTRUCTION_SET), fire_rows, fire_backward, fire_max_rows, fire_max_backward,
                      standardize, standardize_backward};

}  // namespace nsm::NSM_INSTRUCTION_SET
