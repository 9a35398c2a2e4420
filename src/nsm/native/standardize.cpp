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
    const i64 size = job.outer * job.inner;
    for (i64 n = first_input; n < last_input; ++n)
        for (i64 o = 0; o < job.outer; ++o) {
            const T* u = static_cast<const T*>(job.u) + n * job.u_stride + o * job.inner;
            const T* power = static_cast<const T*>(job.power) + n * job.power_stride + o * job.inner;
            float* s = job.s + n * size + o * job.inner;
            if (job.by_run)
                standardize_run<true>(u, power, job.gain + o, job.bias + o, job.variance, job.extra, job.inner, s);
            else
                standardize_run<false>(u, power, job.gain, job.bias, job.variance, job.extra, job.inner, s);
        }
}

}  // namespace

void standardize(const Standardize& job, i64 first_input, i64 last_input) {
    (job.bfloat16 ? standardize_of<Bfloat16> : standardize_of<float>)(job, first_input, last_input);
}

namespace {

// by_gain and by_bias: sums of the run where by_run (sixteen partial ones each), else one for each element.
template <bool by_run, typename T>
inline void standardize_back(const T* u, const T* power, const float* gain, const float* bias, const float* grad,
                             float variance, float extra, i64 count, T* __restrict grad_u, T* __restrict grad_power,
                             float* __restrict by_gain, float* __restrict by_bias) {
    for (i64 i = 0; i < count; ++i) {
        const float x = load(u[i]), a = gain[by_run ? 0 : i], mean = x * a + bias[by_run ? 0 : i];
        const float total = load(power[i]) * variance + extra, safe = total == 0.0f ? 1.0f : total;
        const float g = total == 0.0f ? 0.0f : grad[i] / __builtin_sqrtf(2.0f * safe);
        store(grad_u[i], g * a);
        store(grad_power[i], g * mean * (-0.5f * variance) / safe);
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

template <typename T>
void standardize_backward_of(const StandardizeBackward& job, const Part& part) {
    const i64 size = job.outer * job.inner;
    alignas(64) float by_gain[kBlock], by_bias[kBlock];
    for (i64 n = part.first_input; n < part.last_input; ++n)
        for (i64 o = 0; o < job.outer; ++o)
            for (i64 first = 0; first < job.inner; first += kBlock) {
                const i64 count = job.inner - first < kBlock ? job.inner - first : kBlock, at = o * job.inner + first;
                const T* u = static_cast<const T*>(job.u) + n * job.u_stride + at;
                const T* power = static_cast<const T*>(job.power) + n * job.power_stride + at;
                const float* grad = job.grad + n * size + at;
                T* grad_u = static_cast<T*>(job.grad_u) + n * size + at;
                T* grad_power = static_cast<T*>(job.grad_power) + n * size + at;
                if (job.by_run) {
                    standardize_back<true>(u, power, job.gain + o, job.bias + o, grad, job.variance, job.extra, count,
                                           grad_u, grad_power, by_gain, by_bias);
                    part.scale[o] += fixed_sum(by_gain, count);
                    part.shift[o] += fixed_sum(by_bias, count);
                } else {
                    standardize_back<false>(u, power, job.gain + first, job.bias + first, grad, job.variance, job.extra,
                                            count, grad_u, grad_power, part.scale + first, part.shift + first);
                }
            }
}

}  // namespace

void standardize_backward(const StandardizeBackward& job, const Part& part) {
    const FlushDenormals flush;
    (job.bfloat16 ? standardize_backward_of<Bfloat16> : standardize_backward_of<float>)(job, part);
}

}  // namespace nsm::NSM_INSTRUCTION_SET
