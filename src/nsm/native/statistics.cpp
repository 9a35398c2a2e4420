// Mean and mean square of what each neuron hears, over inputs and positions, and their gradient.
#include "loops.hpp"
#include "numbers.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

constexpr i64 kBlock = 256;
constexpr i64 kLanesOfRun = 16;

// Sums of an input's elements are complete before they are added to those of all inputs: few additions in a row keep what
// float32 loses small. Of a run (by_run) they are sixteen partial ones, in an order that is fixed here.
template <bool by_run, typename T>
void sum_up(const Statistics& job, const Part& part) {
    const T* rows = static_cast<const T*>(job.u);
    for (i64 n = part.first_input; n < part.last_input; ++n) {
        const T* row = rows + n * job.u_stride;
        if (by_run) {
            for (i64 o = 0; o < job.outer; ++o, row += job.inner) {
                float sums[kLanesOfRun] = {}, squares[kLanesOfRun] = {};
                i64 i = 0;
                for (; i + kLanesOfRun <= job.inner; i += kLanesOfRun)
                    for (i64 j = 0; j < kLanesOfRun; ++j) {
                        const float u = load(row[i + j]);
                        sums[j] += u;
                        squares[j] += u * u;
                    }
                for (i64 j = 0; i < job.inner; ++i, ++j) {
                    const float u = load(row[i]);
                    sums[j] += u;
                    squares[j] += u * u;
                }
                float sum = 0.0f, square = 0.0f;
                for (i64 j = 0; j < kLanesOfRun; ++j) sum += sums[j], square += squares[j];
                part.scale[o] += sum;
                part.shift[o] += square;
            }
            continue;
        }
        for (i64 first = 0; first < job.inner; first += kBlock) {
            const i64 count = job.inner - first < kBlock ? job.inner - first : kBlock;
            alignas(64) float sums[kBlock], squares[kBlock];
            for (i64 i = 0; i < count; ++i) sums[i] = squares[i] = 0.0f;
            const T* u = row + first;
            for (i64 o = 0; o < job.outer; ++o, u += job.inner)
                for (i64 i = 0; i < count; ++i) {
                    const float x = load(u[i]);
                    sums[i] += x;
                    squares[i] += x * x;
                }
            for (i64 i = 0; i < count; ++i) {
                part.scale[first + i] += sums[i];
                part.shift[first + i] += squares[i];
            }
        }
    }
}

template <typename T>
void sum_up_of(const Statistics& job, const Part& part) {
    (job.by_run ? sum_up<true, T> : sum_up<false, T>)(job, part);
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
    (job.bfloat16 ? sum_up_of<Bfloat16> : sum_up_of<float>)(job, part);
}

void statistics_backward(const StatisticsBackward& job, i64 first_input, i64 last_input) {
    const FlushDenormals flush;
    (job.bfloat16 ? statistics_backward_of<Bfloat16> : statistics_backward_of<float>)(job, first_input, last_input);
}

}  // namespace nsm::NSM_INSTRUCTION_SET
