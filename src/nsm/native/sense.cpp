// Samples of neurons behind few real inputs, straight from their receptive fields, and the gradient: products, variance
// and draw in one pass, so that no preactivation is ever stored.
#include "draw.hpp"
#include "loops.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

typedef float Wide __attribute__((vector_size(4 * kLanes)));

inline void get(Wide& x, const float* from) { std::memcpy(&x, from, sizeof x); }

inline void put(float* to, const Wide& x) { std::memcpy(to, &x, sizeof x); }

// u = sum_j w_j z_j and power = sum_j (w_j z_j)^2 of kLanes neurons of each member of a window.
struct Moments {
    alignas(64) float u[kLargestWindow][kLanes], power[kLargestWindow][kLanes];
};

template <int members, typename Job>
inline void add_up(const Job& job, const float* x, i64 first, const float* weight, i64 lanes, Moments& to) {
    Wide u[members] = {}, power[members] = {};
    const float* from[members];
    for (int k = 0; k < members; ++k) from[k] = x + job.member[first + k];
    for (i64 t = 0; t < job.taps; ++t) {
        Wide w;
        get(w, weight + t * lanes);
        const i64 tap = job.tap[t];
#pragma GCC unroll 4
        for (int k = 0; k < members; ++k) {
            const Wide product = w * from[k][tap];
            u[k] += product;
            power[k] += product * product;
        }
    }
    for (int k = 0; k < members; ++k) put(to.u[first + k], u[k]), put(to.power[first + k], power[k]);
}

template <typename Job>
inline void moments(const Job& job, const float* x, const float* weight, i64 lanes, Moments& to) {
    i64 k = 0;
    for (; k + 4 <= job.window; k += 4) add_up<4>(job, x, k, weight, lanes, to);
    for (; k < job.window; ++k) add_up<1>(job, x, k, weight, lanes, to);
}

// s of neuron k of a window.
template <typename Job>
inline void arguments(const Job& job, const Moments& found, i64 k, i64 c, float* __restrict s) {
    for (i64 i = 0; i < kLanes; ++i)
        s[i] = argument(found.u[k][i], found.power[k][i], job.gain[c + i], job.bias[c + i], job.variance, job.extra);
}

template <typename Job>
constexpr i64 lanes_of(const Job& job) {
    return (job.channels + kLanes - 1) / kLanes * kLanes;
}

// Thresholds of all channels of positions first .. first + count.
void maxima(const Sense& job, const float* x, i64 first, i64 count, float* threshold) {
    const i64 lanes = lanes_of(job);
    Moments found;
    alignas(64) float s[kLanes], silent[kLanes];
    for (i64 p = first; p < first + count; ++p)
        for (i64 c = 0; c < job.channels; c += kLanes) {
            moments(job, x + job.origin[p], job.weight + c, lanes, found);
            for (i64 i = 0; i < kLanes; ++i) silent[i] = 1.0f;
            for (i64 k = 0; k < job.window; ++k) {
                arguments(job, found, k, c, s);
                for (i64 i = 0; i < kLanes; ++i) silent[i] *= silence(s[i]);
            }
            const i64 run = job.channels - c < kLanes ? job.channels - c : kLanes;
            std::memcpy(threshold + (p - first) * job.channels + c, silent, (std::size_t)run * sizeof(float));
        }
    for (i64 e = 0; e < count * job.channels; ++e) threshold[e] = maximum_threshold(threshold[e]);
}

template <typename T>
void sense_of(const Sense& job, i64 first_row, i64 last_row, float* scratch) {
    for (i64 begin = first_row; begin < last_row;) {
        const i64 n = begin / job.samples;
        const i64 end = (n + 1) * job.samples < last_row ? (n + 1) * job.samples : last_row;
        // 64 positions begin with a group, whatever the number of channels.
        for (i64 p = 0; p < job.positions; p += kGroup) {
            const i64 count = job.positions - p < kGroup ? job.positions - p : kGroup;
            maxima(job, job.x + n * job.x_stride, p, count, scratch);
            decide_side_by_side<T>(job, begin, end, p * job.channels, count * job.channels, scratch);
        }
        begin = end;
    }
}

// From the gradient at the maximum of each channel to those at u and at the power of each neuron, in place of these;
// sums over neurons go to by_gain and by_bias.
template <Estimator estimator>
inline void back(const SenseBackward& job, i64 c, const float* total, Moments& found, float* __restrict by_gain,
                 float* __restrict by_bias) {
    alignas(64) float s[kLargestWindow][kLanes], silent[kLargestWindow][kLanes], before[kLargestWindow][kLanes];
    alignas(64) float product[kLanes], after[kLanes];
    for (i64 i = 0; i < kLanes; ++i) product[i] = after[i] = 1.0f;
    for (i64 k = 0; k < job.window; ++k) {
        arguments(job, found, k, c, s[k]);
        for (i64 i = 0; i < kLanes; ++i) silent[k][i] = silence(s[k][i]);
        for (i64 i = 0; i < kLanes; ++i) before[k][i] = product[i], product[i] *= silent[k][i];
    }
    for (i64 k = job.window; k-- > 0;)
        for (i64 i = 0; i < kLanes; ++i) {
            const float by_s = total[i] * (before[k][i] * after[i]) * slope<estimator>(s[k][i]);
            after[i] *= silent[k][i];
            const float u = found.u[k][i], gain = job.gain[c + i], mean = u * gain + job.bias[c + i];
            const float all = found.power[k][i] * job.variance + job.extra, safe = all == 0.0f ? 1.0f : all;
            const float g = all == 0.0f ? 0.0f : by_s / __builtin_sqrtf(2.0f * safe);
            found.u[k][i] = g * gain;
            found.power[k][i] = g * mean * (-0.5f * job.variance) / safe;
            by_gain[i] += g * u;
            by_bias[i] += g;
        }
}

// Adds x g_u and x^2 g_power of `members` neurons at every synapse.
template <int members>
inline void spread(const SenseBackward& job, const float* x, i64 first, const Moments& g, i64 lanes, float* by_u,
                   float* by_power) {
    Wide u[members], power[members];
    const float* from[members];
    for (int k = 0; k < members; ++k) {
        from[k] = x + job.member[first + k];
        get(u[k], g.u[first + k]);
        get(power[k], g.power[first + k]);
    }
    for (i64 t = 0; t < job.taps; ++t) {
        Wide sum_u, sum_power;
        get(sum_u, by_u + t * lanes);
        get(sum_power, by_power + t * lanes);
        const i64 tap = job.tap[t];
#pragma GCC unroll 4
        for (int k = 0; k < members; ++k) {
            const float z = from[k][tap];
            sum_u += u[k] * z;
            sum_power += power[k] * (z * z);
        }
        put(by_u + t * lanes, sum_u);
        put(by_power + t * lanes, sum_power);
    }
}

template <typename T, Estimator estimator>
void sense_backward_of(const SenseBackward& job, const Part& part) {
    const i64 lanes = lanes_of(job), size = job.positions * job.channels, last = job.taps * lanes;
    Moments found;
    alignas(64) float total[kLanes];
    for (i64 n = part.first_input; n < part.last_input; ++n)
        for (i64 p = 0; p < job.positions; ++p) {
            const float* x = job.x + n * job.x_stride + job.origin[p];
            for (i64 c = 0; c < job.channels; c += kLanes) {
                const i64 run = job.channels - c < kLanes ? job.channels - c : kLanes;
                const T* grad = static_cast<const T*>(job.grad) + n * job.samples * size + p * job.channels + c;
                for (i64 i = 0; i < kLanes; ++i) total[i] = 0.0f;
                for (i64 k = 0; k < job.samples; ++k)
                    for (i64 i = 0; i < run; ++i) total[i] += load(grad[k * size + i]);
                moments(job, x, job.weight + c, lanes, found);
                back<estimator>(job, c, total, found, part.scale + last + c, part.shift + last + c);
                i64 k = 0;
                for (; k + 4 <= job.window; k += 4)
                    spread<4>(job, x, k, found, lanes, part.scale + c, part.shift + c);
                for (; k < job.window; ++k) spread<1>(job, x, k, found, lanes, part.scale + c, part.shift + c);
            }
        }
}

}  // namespace

void sense(const Sense& job, i64 first, i64 last, float* scratch) {
    (job.bfloat16 ? sense_of<Bfloat16> : sense_of<float>)(job, first, last, scratch);
}

void sense_backward(const SenseBackward& job, const Part& part) {
    const FlushDenormals flush;
    with_estimator(job.estimator, [&](auto chosen) {
        constexpr Estimator estimator = decltype(chosen)::value;
        (job.bfloat16 ? sense_backward_of<Bfloat16, estimator> : sense_backward_of<float, estimator>)(job, part);
    });
}

}  // namespace nsm::NSM_INSTRUCTION_SET
