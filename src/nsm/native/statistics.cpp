// Mean and variance of what each neuron hears, over inputs and positions, and their gradient.
#include "loops.hpp"
#include "numbers.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

constexpr i64 kBlock = 256, kParts = 16;

// Sums of one input are complete before they are added to those of all inputs: few additions in a row keep what float32 loses
// small.

// Of each run, sixteen partial ones: their order is fixed here, not by the compiler.
template <typename T>
void add_runs(const Statistics& job, const T* u, const Part& to) {
    for (i64 o = 0; o < job.outer; ++o, u += job.inner) {
        float sums[kParts] = {}, squares[kParts] = {};
        const float pivot = job.pivot[o];
        const auto add = [&](const T* from, i64 count) {
            for (i64 j = 0; j < count; ++j) {
                const float x = load(from[j]) - pivot;
                sums[j] += x;
                squares[j] += x * x;
            }
        };
        i64 i = 0;
        for (; i + kParts <= job.inner; i += kParts) add(u + i, kParts);
        add(u + i, job.inner - i);
        float sum = 0.0f, square = 0.0f;
        for (i64 j = 0; j < kParts; ++j) sum += sums[j], square += squares[j];
        to.scale[o] += sum;
        to.shift[o] += square;
    }
}

// Of each element, over all runs.
template <typename T>
void add_elements(const Statistics& job, const T* u, const Part& to) {
    for (i64 first = 0; first < job.inner; first += kBlock) {
        const i64 count = job.inner - first < kBlock ? job.inner - first : kBlock;
        alignas(64) float sums[kBlock] = {}, squares[kBlock] = {};
        for (i64 o = 0; o < job.outer; ++o)
            for (i64 i = 0; i < count; ++i) {
                const float x = load(u[o * job.inner + first + i]) - job.pivot[first + i];
                sums[i] += x;
                squares[i] += x * x;
            }
        for (i64 i = 0; i < count; ++i) {
            to.scale[first + i] += sums[i];
            to.shift[first + i] += squares[i];
        }
    }
}

template <typename T>
void statistics_of(const Statistics& job, const Part& part) {
    for (i64 n = part.first_input; n < part.last_input; ++n)
        (job.by_run ? add_runs<T> : add_elements<T>)(job, static_cast<const T*>(job.u) + n * job.u_stride, part);
}

template <bool by_run, typename T>
inline void back(const T* u, const float* by_sum, const float* by_square, i64 count, T* __restrict grad_u) {
    for (i64 i = 0; i < count; ++i)
        store(grad_u[i], load(u[i]) * by_square[by_run ? 0 : i] + by_sum[by_run ? 0 : i]);
}

template <typename T>
void statistics_backward_of(const StatisticsBackward& job, i64 first_input, i64 last_input) {
    const i64 size = job.outer * job.inner;
    for (i64 n = first_input; n < last_input; ++n)
        for (i64 o = 0; o < job.outer; ++o) {
            const T* u = static_cast<const T*>(job.u) + n * job.u_stride + o * job.inner;
            T* grad_u = static_cast<T*>(job.grad_u) + n * size + o * job.inner;
            if (job.by_run)
                back<true>(u, job.by_sum + o, job.by_square + o, job.inner, grad_u);
            else
                back<false>(u, job.by_sum, job.by_square, job.inner, grad_u);
        }
}

}  // namespace

void statistics(const Statistics& job, const Part& part) {
    (job.bfloat16 ? statistics_of<Bfloat16> : statistics_of<float>)(job, part);
}

void statistics_backward(const StatisticsBackward& job, i64 first_input, i64 last_input) {
    const FlushDenormals flush;
    (job.bfloat16 ? statistics_backward_of<Bfloat16> : statistics_backward_of<float>)(job, first_input, last_input);
}

}  // namespace nsm::NSM_INSTRUCTION_SET
