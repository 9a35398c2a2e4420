// Samples of the maximum over a window of neurons, and the gradient of its probability.
#include "draw.hpp"
#include "loops.hpp"
#include "windows.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

// to[i] (times) P(z' = -1), a multiple of 2^-24.
template <bool first, typename T>
inline void silences(const T* u, const float* scale, const float* shift, i64 count, float* __restrict to) {
    for (i64 i = 0; i < count; ++i) {
        const float product = load(u[i]) * scale[i];
        const float silent = silence(product + shift[i]);
        to[i] = first ? silent : to[i] * silent;
    }
}

// The same for estimates of it.
template <bool first, typename T>
inline void estimates(const T* u, const float* scale, const float* shift, i64 count, float* __restrict silent,
                      float* __restrict all) {
    for (i64 i = 0; i < count; ++i) {
        const float product = load(u[i]) * scale[i];
        float one, of_all;
        estimate(product + shift[i], one, of_all);
        silent[i] = first ? one : silent[i] * one;
        all[i] = first ? of_all : all[i] * of_all;
    }
}

// Calls use(u, scale, shift, e, run, k) for neurons k of the windows of elements first + e .. first + e + run, which lie side by
// side.
template <typename T, typename Use>
inline void for_neurons(const FireMax& job, i64 first, i64 count, const T* u, const Use& use) {
    for_runs(job, first, count, [&](i64 p, i64 c, i64 e, i64 run) {
        for (i64 k = 0; k < job.window; ++k) {
            const i64 at = job.shared ? c : (p * job.window + k) * job.channels + c;
            use(u + job.origin[p] + job.member[k] + c, job.scale + at, job.shift + at, e, run, k);
        }
    });
}

template <typename T>
void thresholds(const FireMax& job, i64 first, i64 count, const T* u, float* to) {
    for_neurons(job, first, count, u,
                [&](const T* from, const float* scale, const float* shift, i64 e, i64 run, i64 k) {
                    (k ? silences<false, T> : silences<true, T>)(from, scale, shift, run, to + e);
                });
    for (i64 e = 0; e < count; ++e) to[e] = maximum_threshold(to[e]);
}

template <typename T>
void fire_max_once(const FireMax& job, i64 row, i64 first, i64 count, const T* u) {
    T* z = static_cast<T*>(job.z) + row * job.positions * job.channels + first;
    alignas(64) float silent[kGroup], all[kGroup];
    alignas(64) u32 words[kGroup];
    for (i64 e = 0; e < count; e += kGroup) {
        const i64 n = count - e < kGroup ? count - e : kGroup;
        for_neurons(job, first + e, n, u,
                    [&](const T* from, const float* scale, const float* shift, i64 i, i64 run, i64 k) {
                        (k ? estimates<false, T> : estimates<true, T>)(from, scale, shift, run, silent + i, all + i);
                    });
        draw(job, row, (first + e) / kGroup, words);
        decide_once(words, silent, all, job.window, n, z + e,
                    [&](float* to) { thresholds(job, first + e, n, u, to); });
    }
}

template <typename T>
void fire_max_chunk(const FireMax& job, i64 begin, i64 end, i64 first, i64 count, const T* u, float* threshold) {
    if (job.samples == 1 && job.window <= kFewNeurons) return fire_max_once(job, begin, first, count, u);
    thresholds(job, first, count, u, threshold);
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

}  // namespace

void fire_max(const FireMax& job, i64 first_row, i64 last_row, float* scratch) {
    if (!job.bfloat16)
        fire_max_rows_of<float>(job, first_row, last_row, scratch);
    else
        fire_max_rows_of<Bfloat16>(job, first_row, last_row, scratch);
}

namespace {

constexpr i64 kRun = 64;

// Neuron k of a window: silent P(z'_k = -1), and its slope; before: product of those before k, then with k.
template <Estimator estimator, typename T>
inline void go_forward(const T* u, const float* scale, const float* shift, i64 count, float* __restrict silent,
                       float* __restrict slopes, const float* __restrict before, float* __restrict with) {
    for (i64 i = 0; i < count; ++i) {
        slopes[i] = slope_and_silence<estimator>(load(u[i]) * scale[i] + shift[i], silent[i]);
        with[i] = before[i] * silent[i];
    }
}

// after: product of those after k, then with k.
template <typename T>
inline void go_back(const T* u, const float* scale, const float* total, const float* silent, const float* slopes,
                    const float* before, i64 count, float* __restrict after, T* __restrict grad_u,
                    float* __restrict by_scale, float* __restrict by_shift) {
    for (i64 i = 0; i < count; ++i) {
        const float g = total[i] * (before[i] * after[i]) * slopes[i];
        after[i] *= silent[i];
        store(grad_u[i], g * scale[i]);
        by_scale[i] += g * load(u[i]);
        by_shift[i] += g;
    }
}

template <typename T, Estimator estimator>
void max_backward_of(const FireMaxBackward& job, const Part& part) {
    const i64 size = job.positions * job.channels;
    alignas(64) float silent[kLargestWindow][kRun], slopes[kLargestWindow][kRun], before[kLargestWindow + 1][kRun];
    alignas(64) float total[kRun], after[kRun];
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
                    go_forward<estimator>(from, job.scale + at, job.shift + at, run, silent[k], slopes[k], before[k],
                                          before[k + 1]);
                }
                for (i64 k = job.window; k-- > 0;) {
                    const i64 at = job.shared ? c : (p * job.window + k) * job.channels + c;
                    const T* from = u + job.origin[p] + job.member[k] + c;
                    T* to = grad_u + job.grad_origin[p] + job.grad_member[k] + c;
                    go_back(from, job.scale + at, total, silent[k], slopes[k], before[k], run, after, to,
                            part.scale + at, part.shift + at);
                }
            }
    }
}

}  // namespace

void fire_max_backward(const FireMaxBackward& job, const Part& part) {
    const FlushDenormals flush;
    with_estimator(job.estimator, [&](auto chosen) {
        constexpr Estimator estimator = decltype(chosen)::value;
        (job.bfloat16 ? max_backward_of<Bfloat16, estimator> : max_backward_of<float, estimator>)(job, part);
    });
}

}  // namespace nsm::NSM_INSTRUCTION_SET
