// Averages over populations of neurons that hear the same, each the maximum over a window: from what is heard to samples in one
// pass, and the gradient in another, so that no argument of erf is ever stored.
#include "draw.hpp"
#include "loops.hpp"
#include "windows.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

constexpr float kSure = 1e9f;  // an argument without noise: no slope is left there

// Rows of u and power of one input; where there is no power, which nobody reads then, that of u once more.
template <typename T>
struct Row {
    const T *u, *power;

    template <typename Job>
    Row(const Job& job, i64 input)
        : u(static_cast<const T*>(job.u) + input * job.u_stride),
          power(job.power ? static_cast<const T*>(job.power) + input * job.power_stride : u) {}
};

// to[i] (times) P(z' = -1) of a neuron of a window, a multiple of 2^-24.
template <bool varies, bool first, typename T>
inline void silences(const Hear& job, const T* u, const T* power, const float* gain, const float* bias, i64 count,
                     float* __restrict to) {
    for (i64 i = 0; i < count; ++i) {
        const float product = load(u[i]) * gain[i];
        const float s = varies ? argument(load(u[i]), load(power[i]), gain[i], bias[i], job.variance, job.extra)
                               : product + bias[i];
        to[i] = first ? silence(s) : to[i] * silence(s);
    }
}

// Thresholds of neuron `number` of the populations.
template <bool varies, typename T>
void thresholds(const Hear& job, const Row<T>& row, i64 number, i64 first, i64 count, float* to) {
    const float* biases = job.bias + number * job.bias_stride;
    for_runs(job, first, count, [&](i64 p, i64 c, i64 e, i64 run) {
        for (i64 k = 0; k < job.window; ++k) {
            const i64 at = job.origin[p] + job.member[k] + c;
            (k ? silences<varies, false, T> : silences<varies, true, T>)(job, row.u + at, row.power + at, job.gain + c,
                                                                         biases + c, run, to + e);
        }
    });
    for (i64 e = 0; e < count; ++e) to[e] = maximum_threshold(to[e]);
}

// What all neurons of the populations of a group of elements have in common.
struct Heard {
    alignas(64) float mean[kFewNeurons][kGroup];     // w z gain
    alignas(64) float inverse[kFewNeurons][kGroup];  // of the deviation that s is counted in, -1 where there is no variance

    // Returns whether there is no variance anywhere.
    template <bool varies, typename T>
    bool listen(const Hear& job, const Row<T>& row, i64 first, i64 count) {
        i64 noisy = !varies;
        for_runs(job, first, count, [&](i64 p, i64 c, i64 e, i64 run) {
            for (i64 k = 0; k < job.window; ++k) {
                const i64 at = job.origin[p] + job.member[k] + c;
                noisy += hear<varies>(job, row.u + at, row.power + at, job.gain + c, run, mean[k] + e, inverse[k] + e);
            }
        });
        return noisy == 0;
    }

    // Signs of the maximum where there is no variance.
    void sure(const float* bias, i64 window, i64 count, float* __restrict z) const {
        for (i64 i = 0; i < count; ++i) z[i] = -1.0f;
        for (i64 k = 0; k < window; ++k)
            for (i64 i = 0; i < count; ++i) z[i] = mean[k][i] + bias[i] >= 0.0f ? 1.0f : z[i];
    }

private:
    template <bool varies, typename T>
    static std::int32_t hear(const Hear& job, const T* u, const T* power, const float* gain, i64 count,
                             float* __restrict mean, float* __restrict inverse) {
        std::int32_t noisy = 0;
        for (i64 i = 0; i < count; ++i) {
            mean[i] = load(u[i]) * gain[i];
            if (!varies) continue;
            const float total = load(power[i]) * job.variance + job.extra;
            inverse[i] = total == 0.0f ? -1.0f : 1.0f / __builtin_sqrtf(2.0f * total);
            noisy += total != 0.0f;
        }
        return noisy;
    }
};

// s of a neuron to within its last bits.
template <bool varies>
inline float near_argument(float mean, float bias, float inverse) {
    const float all = mean + bias, sure = all >= 0.0f ? kSure : -kSure, ratio = all * inverse;
    return !varies ? all : inverse < 0.0f ? sure : ratio;
}

template <bool varies, bool first>
inline void estimates(const float* mean, const float* inverse, const float* bias, i64 count, float* __restrict silent,
                      float* __restrict all) {
    for (i64 i = 0; i < count; ++i) {
        float one, of_all;
        estimate(near_argument<varies>(mean[i], bias[i], inverse[i]), one, of_all);
        silent[i] = first ? one : silent[i] * one;
        all[i] = first ? of_all : all[i] * of_all;
    }
}

template <bool varies, typename T>
void hear_once(const Hear& job, const Row<T>& heard, i64 row, i64 first, i64 count) {
    constexpr float margin = kMargin + 4.0f * kUnit;  // the bits that arguments lack
    Heard in_common;
    alignas(64) float silent[kGroup], all[kGroup];
    bool sure = false;
    average<T>(job, job.population, row, first, count, [&](i64 number, i64 e, i64 n, const auto& words, float* to) {
        if (number == 0) sure = in_common.listen<varies>(job, heard, first + e, n);
        const float* bias = job.bias + number * job.bias_stride + (first + e) % job.channels;
        if (sure) return in_common.sure(bias, job.window, n, to);
        for (i64 k = 0; k < job.window; ++k)
            (k ? estimates<varies, false> : estimates<varies, true>)(in_common.mean[k], in_common.inverse[k], bias, n, silent,
                                                                     all);
        const auto found = [&](i64 i, float& one, float& of_all) { one = silent[i], of_all = all[i]; };
        decide_once(words(), found, margin * (float)job.window, n, to,
                    [&](float* limit) { thresholds<varies>(job, heard, number, first + e, n, limit); });
    });
}

template <bool varies, typename T>
void hear_rows(const Hear& job, i64 first_row, i64 last_row, float* scratch) {
    const i64 size = job.positions * job.channels;
    for (i64 begin = first_row; begin < last_row;) {
        // The samples of one input share its thresholds.
        const i64 n = begin / job.samples;
        const i64 end = (n + 1) * job.samples < last_row ? (n + 1) * job.samples : last_row;
        const Row<T> heard(job, n);
        for (i64 first = 0; first < size; first += kChunk) {
            const i64 count = size - first < kChunk ? size - first : kChunk;
            if (job.samples == 1 && job.window <= kFewNeurons) {
                hear_once<varies>(job, heard, begin, first, count);
                continue;
            }
            for (i64 number = 0; number < job.population; ++number)
                thresholds<varies>(job, heard, number, first, count, scratch + number * kChunk);
            decide_averages<T>(job, job.population, begin, end, first, count, scratch);
        }
        begin = end;
    }
}

}  // namespace

void hear(const Hear& job, i64 first_row, i64 last_row, float* scratch) {
    if (job.power)
        (job.bfloat16 ? hear_rows<true, Bfloat16> : hear_rows<true, float>)(job, first_row, last_row, scratch);
    else
        (job.bfloat16 ? hear_rows<false, Bfloat16> : hear_rows<false, float>)(job, first_row, last_row, scratch);
}

namespace {

constexpr i64 kRun = 64;

// A neuron of a window for a run of channels, and what the gradients of its population add up to.
struct Neuron {
    alignas(64) float mean[kRun];     // w z gain
    alignas(64) float total[kRun];    // the variance, 1 where there is none
    alignas(64) float inverse[kRun];  // of the deviation that s is counted in, 0 where there is no variance
    alignas(64) float all[kRun];      // gradients at the mean
    alignas(64) float moved[kRun];    // these times the mean
    alignas(64) float silent[kRun], slopes[kRun], before[kRun];  // of one: P(z' = -1), its slope, those before it multiplied

    // Returns how many of them a gradient may reach.
    template <bool varies, typename T>
    std::int32_t begin(const HearBackward& job, const T* u, const T* power, const float* gain, i64 count) {
        std::int32_t noisy = !varies;
        for (i64 i = 0; i < count; ++i) {
            mean[i] = load(u[i]) * gain[i];
            all[i] = moved[i] = 0.0f;
            if (!varies) continue;
            const float heard = load(power[i]) * job.variance + job.extra;
            total[i] = heard == 0.0f ? 1.0f : heard;
            inverse[i] = heard == 0.0f ? 0.0f : 1.0f / __builtin_sqrtf(2.0f * heard);
            noisy += heard != 0.0f;
        }
        return noisy;
    }

    // product: of the silences of the neurons before, then with this one's.
    template <bool varies, Estimator estimator>
    void go_forward(const float* bias, i64 count, float* __restrict product) {
        for (i64 i = 0; i < count; ++i) {
            const float m = mean[i] + bias[i], sure = m >= 0.0f ? kSure : -kSure, ratio = m * inverse[i];
            const float s = !varies ? m : inverse[i] == 0.0f ? sure : ratio;
            slopes[i] = slope_and_silence<estimator>(s, silent[i]);
            before[i] = product[i];
            product[i] *= silent[i];
        }
    }

    // product: of the silences of the neurons behind, then with this one's.
    template <bool varies>
    void go_back(const float* grad, const float* bias, i64 count, float* __restrict product, float* __restrict by_bias) {
        for (i64 i = 0; i < count; ++i) {
            const float by_s = grad[i] * (before[i] * product[i]) * slopes[i];
            const float g = varies ? by_s * inverse[i] : by_s;
            product[i] *= silent[i];
            all[i] += g;
            if (varies) moved[i] += g * (mean[i] + bias[i]);
            by_bias[i] += g;
        }
    }

    template <bool varies, typename T>
    void finish(const HearBackward& job, const T* u, const float* gain, i64 count, T* __restrict grad_u,
                T* __restrict grad_power, float* __restrict by_gain) const {
        for (i64 i = 0; i < count; ++i) {
            store(grad_u[i], all[i] * gain[i]);
            if (varies) store(grad_power[i], moved[i] * (-0.5f * job.variance) / total[i]);
            by_gain[i] += all[i] * load(u[i]);
        }
    }
};

template <bool varies, typename T, Estimator estimator>
void hear_backward_of(const HearBackward& job, const Part& part) {
    const i64 size = job.positions * job.channels;
    alignas(64) float grad[kRun], product[kRun];
    Neuron neurons[kLargestWindow];
    for (i64 n = part.first_input; n < part.last_input; ++n) {
        const Row<T> row(job, n);
        T *grad_u = static_cast<T*>(job.grad_u) + n * job.grad_stride,
          *grad_power = varies ? static_cast<T*>(job.grad_power) + n * job.grad_stride : grad_u;
        for (i64 p = 0; p < job.positions; ++p)
            for (i64 c = 0; c < job.channels; c += kRun) {
                const i64 run = job.channels - c < kRun ? job.channels - c : kRun;
                const T* arriving = static_cast<const T*>(job.grad) + n * job.samples * size + p * job.channels + c;
                for (i64 i = 0; i < run; ++i) grad[i] = load(arriving[i]);
                for (i64 k = 1; k < job.samples; ++k)
                    for (i64 i = 0; i < run; ++i) grad[i] += load(arriving[k * size + i]);
                const float share = 1.0f / (float)job.population;
                for (i64 i = 0; i < run; ++i) grad[i] *= share;
                i64 noisy = 0;
                for (i64 k = 0; k < job.window; ++k) {
                    const i64 at = job.origin[p] + job.member[k] + c;
                    noisy += neurons[k].begin<varies>(job, row.u + at, row.power + at, job.gain + c, run);
                }
                for (i64 number = 0; noisy > 0 && number < job.population; ++number) {
                    const i64 at = number * job.channels + c;
                    for (i64 i = 0; i < run; ++i) product[i] = 1.0f;
                    for (i64 k = 0; k < job.window; ++k)
                        neurons[k].go_forward<varies, estimator>(job.bias + at, run, product);
                    for (i64 i = 0; i < run; ++i) product[i] = 1.0f;
                    for (i64 k = job.window; k-- > 0;)
                        neurons[k].go_back<varies>(grad, job.bias + at, run, product, part.shift + at);
                }
                for (i64 k = 0; k < job.window; ++k) {
                    const T* u = row.u + job.origin[p] + job.member[k] + c;
                    const i64 to = job.grad_origin[p] + job.grad_member[k] + c;
                    neurons[k].finish<varies>(job, u, job.gain + c, run, grad_u + to, grad_power + to, part.scale + c);
                }
            }
    }
}

}  // namespace

void hear_backward(const HearBackward& job, const Part& part) {
    const FlushDenormals flush;
    with_estimator(job.estimator, [&](auto chosen) {
        constexpr Estimator estimator = decltype(chosen)::value;
        if (job.power)
            (job.bfloat16 ? hear_backward_of<true, Bfloat16, estimator> : hear_backward_of<true, float, estimator>)(job, part);
        else
            (job.bfloat16 ? hear_backward_of<false, Bfloat16, estimator> : hear_backward_of<false, float, estimator>)(job, part);
    });
}

}  // namespace nsm::NSM_INSTRUCTION_SET
