// Samples of single neurons, and the gradient of their probability.
#include "draw.hpp"
#include "loops.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

// by_run: one scale and one shift for all of them.
template <bool by_run, typename T>
inline void thresholds(const T* u, const float* scale, const float* shift, i64 count, float* __restrict to) {
    for (i64 i = 0; i < count; ++i) {
        const float product = load(u[i]) * scale[by_run ? 0 : i];
        to[i] = threshold24(product + shift[by_run ? 0 : i]);
    }
}

template <bool by_run, typename T, typename Z>
inline void fire_once(const u32* words, const T* u, const float* scale, const float* shift, i64 count, Z* z) {
    const auto estimates = [=](i64 i, float& silent, float& all) {
        const float product = load(u[i]) * scale[by_run ? 0 : i];
        estimate(product + shift[by_run ? 0 : i], silent, all);
    };
    decide_once(words, estimates, kMargin, count, z,
                [=](float* to) { thresholds<by_run>(u, scale, shift, count, to); });
}

template <typename T>
void fire_channel_last_once(const Fire& job, i64 row, i64 first, i64 count, const T* u) {
    T* z = static_cast<T*>(job.z) + row * job.positions * job.channels + first;
    alignas(64) u32 words[kGroup];
    i64 at = job.shared ? first % job.channels : first;
    for (i64 e = 0; e < count; e += kGroup) {
        draw(job, row, (first + e) / kGroup, words);
        const i64 n = count - e < kGroup ? count - e : kGroup;
        fire_once<false>(words, u + first + e, job.scale + at, job.shift + at, n, z + e);
        at = job.shared ? (at + kGroup) % job.channels : at + kGroup;
    }
}

template <typename T>
void fire_members_once(const Fire& job, i64 row, i64 first, i64 count, const T* u) {
    average<T>(job, job.members, row, first, count, [&](i64 k, i64 e, i64 n, const auto& words, float* to) {
        const i64 at = job.shared ? (first + e) % job.channels : first + e;
        fire_once<false>(words(), u + first + e, job.scale + at, job.shift + k * job.shift_stride + at, n, to);
    });
}

template <typename T>
void fire_channel_last(const Fire& job, i64 begin, i64 end, i64 first, i64 count, const T* u, float* threshold) {
    if (job.samples == 1 && job.members > 1) return fire_members_once(job, begin, first, count, u);
    if (job.samples == 1) return fire_channel_last_once(job, begin, first, count, u);
    i64 at = job.shared ? first % job.channels : first;
    for (i64 e = 0; e < count; e += kGroup) {
        const i64 n = count - e < kGroup ? count - e : kGroup;
        for (i64 k = 0; k < job.members; ++k)
            thresholds<false>(u + first + e, job.scale + at, job.shift + k * job.shift_stride + at, n,
                              threshold + k * kChunk + e);
        at = job.shared ? (at + kGroup) % job.channels : at + kGroup;
    }
    if (job.members > 1)
        decide_averages<T>(job, job.members, begin, end, first, count, threshold);
    else
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

// One sample of `count` positions of channel c, the first of which is element `at` of a row.
template <typename T>
void fire_run_once(const Fire& job, i64 c, i64 at, i64 count, const u32* words, const T* u, T* z) {
    for (i64 p = 0; p < count; p += kGroup) {
        const i64 n = count - p < kGroup ? count - p : kGroup;
        if (job.shared)
            fire_once<true>(words + p, u + at + p, job.scale + c, job.shift + c, n, z + p);
        else
            fire_once<false>(words + p, u + at + p, job.scale + at + p, job.shift + at + p, n, z + p);
    }
}

// All channels of positions first .. first + count.
template <typename T>
void fire_position_last(const Fire& job, i64 begin, i64 end, i64 first, i64 count, const T* u, float* threshold) {
    const i64 size = job.positions * job.channels, stride = position_chunk(job);
    const bool once = job.samples == 1;
    for (i64 c = 0; !once && c < job.channels; ++c) {
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
            const i64 at = c * job.positions + first;
            T* z = static_cast<T*>(job.z) + row * size + at;
            if (once)
                fire_run_once(job, c, at, count, turned + c * stride, u, z);
            else
                decide(turned + c * stride, threshold + c * stride, count, z);
        }
    }
}

template <typename T>
void fire_rows_of(const Fire& job, i64 first_row, i64 last_row, float* scratch) {
    const bool channel_last = !job.position_last;
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

}  // namespace

void fire(const Fire& job, i64 first_row, i64 last_row, float* scratch) {
    if (!job.bfloat16)
        fire_rows_of<float>(job, first_row, last_row, scratch);
    else
        fire_rows_of<Bfloat16>(job, first_row, last_row, scratch);
}

namespace {

constexpr i64 kBlock = 256;

// Up to kBlock elements of a run, each with one scale and shift; `total` is the gradient at their averages.
template <Estimator estimator, typename T>
void backward_of_members(const FireBackward& job, const Part& part, i64 first, i64 count, const float* total,
                         const T* u, T* grad_u) {
    alignas(64) float g[kBlock] = {}, s[kBlock];
    const float* scale = job.scale + first;
    for (i64 i = 0; i < count; ++i) s[i] = load(u[i]) * scale[i];
    const float share = 1.0f / (float)job.members;
    for (i64 k = 0; k < job.members; ++k) {
        const float* shift = job.shift + k * job.inner + first;
        float* __restrict to = part.shift + k * job.inner + first;
        for (i64 i = 0; i < count; ++i) {
            const float one = total[i] * share * slope<estimator>(s[i] + shift[i]);
            g[i] += one;
            to[i] += one;
        }
    }
    for (i64 i = 0; i < count; ++i) {
        part.scale[first + i] += g[i] * load(u[i]);
        store(grad_u[i], g[i] * scale[i]);
    }
}

template <typename T, Estimator estimator, bool by_run>
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
                if (!by_run && job.members > 1) {
                    backward_of_members<estimator>(job, part, first, count, total, u, grad_u);
                    continue;
                }
                for (i64 i = 0; i < count; ++i) {
                    const float x = load(u[i]), a = scale[by_run ? 0 : i], b = shift[by_run ? 0 : i];
                    g[i] = total[i] * slope<estimator>(x * a + b);
                    product[i] = g[i] * x;
                    store(grad_u[i], g[i] * a);
                }
                if (by_run) {
                    const i64 padded = (count + 15) / 16 * 16;
                    for (i64 i = count; i < padded; ++i) g[i] = product[i] = 0.0f;
                    for (i64 i = 0; i < padded; i += 16)
                        for (i64 j = 0; j < 16; ++j) sums[j] += g[i + j], products[j] += product[i + j];
                } else {
                    for (i64 i = 0; i < count; ++i) part.scale[first + i] += product[i];
                    for (i64 i = 0; i < count; ++i) part.shift[first + i] += g[i];
                }
            }
            if (by_run)
                for (i64 j = 0; j < 16; ++j) part.shift[o] += sums[j], part.scale[o] += products[j];
        }
    }
}

template <typename T>
void backward_typed(const FireBackward& job, const Part& part) {
    with_estimator(job.estimator, [&](auto chosen) {
        constexpr Estimator estimator = decltype(chosen)::value;
        job.by_run ? backward_of<T, estimator, true>(job, part) : backward_of<T, estimator, false>(job, part);
    });
}

}  // namespace

void fire_backward(const FireBackward& job, const Part& part) {
    const FlushDenormals flush;
    if (!job.bfloat16)
        backward_typed<float>(job, part);
    else
        backward_typed<Bfloat16>(job, part);
}

}  // namespace nsm::NSM_INSTRUCTION_SET
