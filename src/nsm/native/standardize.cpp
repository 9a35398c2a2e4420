// The argument of erf where the inputs decide the variance, and its gradient.
#include "loops.hpp"
#include "numbers.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

constexpr i64 kBlock = 256;

template <bool by_run, typename T>
inline void standardize_run(const T* u, const T* power, const float* gain, const float* bias, float variance,
                            float extra, i64 count, float* __restrict s) {
    for (i64 i = 0; i < count; ++i)
        s[i] = argument(load(u[i]), load(power[i]), gain[by_run ? 0 : i], bias[by_run ? 0 : i], variance, extra);
}

template <typename T>
void standardize_of(const Standardize& job, i64 first_input, i64 last_input) {
    const i64 size = job.outer * job.inner, neurons = job.by_run ? job.outer : job.inner;
    for (i64 n = first_input; n < last_input; ++n)
        for (i64 o = 0; o < job.outer; ++o) {
            const T* u = static_cast<const T*>(job.u) + n * job.u_stride + o * job.inner;
            const T* power = static_cast<const T*>(job.power) + n * job.power_stride + o * job.inner;
            for (i64 k = 0; k < job.members; ++k) {
                const float* bias = job.bias + k * neurons;
                float* s = job.s + (k * job.inputs + n) * size + o * job.inner;
                if (job.by_run)
                    standardize_run<true>(u, power, job.gain + o, bias + o, job.variance, job.extra, job.inner, s);
                else
                    standardize_run<false>(u, power, job.gain, bias, job.variance, job.extra, job.inner, s);
            }
        }
}

}  // namespace

void standardize(const Standardize& job, i64 first_input, i64 last_input) {
    (job.bfloat16 ? standardize_of<Bfloat16> : standardize_of<float>)(job, first_input, last_input);
}

namespace {

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

// Some elements of a run, and what all members' gradients add up to.
struct Block {
    alignas(64) float mean[kBlock];     // w z gain
    alignas(64) float total[kBlock];    // the variance, 1 where there is none
    alignas(64) float inverse[kBlock];  // of the deviation that s is counted in, 0 where there is no variance
    alignas(64) float all[kBlock];      // gradients at the mean
    alignas(64) float moved[kBlock];    // these times the mean
    alignas(64) float own[kBlock];      // gradients of one member, or of the gain

    template <bool by_run, typename T>
    void begin(const T* u, const T* power, const float* gain, float variance, float extra, i64 count) {
        for (i64 i = 0; i < count; ++i) {
            const float heard = load(power[i]) * variance + extra;
            mean[i] = load(u[i]) * gain[by_run ? 0 : i];
            total[i] = heard == 0.0f ? 1.0f : heard;
            inverse[i] = heard == 0.0f ? 0.0f : 1.0f / __builtin_sqrtf(2.0f * heard);
            all[i] = moved[i] = 0.0f;
        }
    }

    template <bool by_run>
    void add(const float* grad, const float* bias, i64 count) {
        for (i64 i = 0; i < count; ++i) {
            const float g = grad[i] * inverse[i];
            own[i] = g;
            all[i] += g;
            moved[i] += g * (mean[i] + bias[by_run ? 0 : i]);
        }
    }

    template <bool by_run, typename T>
    void finish(const T* u, const float* gain, float variance, i64 count, T* __restrict grad_u,
                T* __restrict grad_power) {
        for (i64 i = 0; i < count; ++i) {
            store(grad_u[i], all[i] * gain[by_run ? 0 : i]);
            store(grad_power[i], moved[i] * (-0.5f * variance) / total[i]);
            own[i] = all[i] * load(u[i]);
        }
    }
};

// Adds x to the sum of its run, or to one sum for each element.
template <bool by_run>
inline void add_up(float* x, i64 count, float* sums) {
    if (by_run)
        *sums += fixed_sum(x, count);
    else
        for (i64 i = 0; i < count; ++i) sums[i] += x[i];
}

template <bool by_run, typename T>
void standardize_backward_of(const StandardizeBackward& job, const Part& part) {
    const i64 size = job.outer * job.inner, neurons = by_run ? job.outer : job.inner;
    Block block;
    for (i64 n = part.first_input; n < part.last_input; ++n)
        for (i64 o = 0; o < job.outer; ++o)
            for (i64 first = 0; first < job.inner; first += kBlock) {
                const i64 count = job.inner - first < kBlock ? job.inner - first : kBlock, at = o * job.inner + first;
                const i64 neuron = by_run ? o : first;
                const T* u = static_cast<const T*>(job.u) + n * job.u_stride + at;
                const T* power = static_cast<const T*>(job.power) + n * job.power_stride + at;
                block.template begin<by_run>(u, power, job.gain + neuron, job.variance, job.extra, count);
                for (i64 k = 0; k < job.members; ++k) {
                    const float* grad = job.grad + (k * job.inputs + n) * size + at;
                    block.template add<by_run>(grad, job.bias + k * neurons + neuron, count);
                    add_up<by_run>(block.own, count, part.shift + k * neurons + neuron);
                }
                block.template finish<by_run>(u, job.gain + neuron, job.variance, count,
                                              static_cast<T*>(job.grad_u) + n * size + at,
                                              static_cast<T*>(job.grad_power) + n * size + at);
                add_up<by_run>(block.own, count, part.scale + neuron);
            }
}

}  // namespace

void standardize_backward(const StandardizeBackward& job, const Part& part) {
    const FlushDenormals flush;
    if (job.by_run)
        (job.bfloat16 ? standardize_backward_of<true, Bfloat16> : standardize_backward_of<true, float>)(job, part);
    else
        (job.bfloat16 ? standardize_backward_of<false, Bfloat16> : standardize_backward_of<false, float>)(job, part);
}

}  // namespace nsm::NSM_INSTRUCTION_SET
