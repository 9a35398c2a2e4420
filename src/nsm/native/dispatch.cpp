#include "dispatch.hpp"

#include <algorithm>
#include <atomic>
#include <functional>
#include <stdexcept>
#include <thread>

namespace nsm {

#if defined(NSM_X86)
namespace avx512 {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
#endif
namespace portable {
extern const Kernels kernels;
}

namespace {

constexpr std::int64_t kWorthAThread = 32768;  // elements; fewer take less time than starting a thread
constexpr std::int64_t kColumns = 256, kInputBlocks = 16;

std::vector<const Kernels*> supported() {
    std::vector<const Kernels*> found;
#if defined(NSM_X86)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        found.push_back(&avx512::kernels);
    if (__builtin_cpu_supports("avx2")) found.push_back(&avx2::kernels);
#endif
    found.push_back(&portable::kernels);
    return found;
}

const Kernels& named(const std::string& name) {
    static const std::vector<const Kernels*> all = supported();
    for (const Kernels* kernels : all)
        if (name == kernels->name) return *kernels;
    throw std::invalid_argument("instruction set " + name + " is not one this processor has");
}

// Calls work(0) .. work(count - 1), each once, on up to `threads` threads.
void parallel(std::int64_t count, std::int64_t elements, int threads, const std::function<void(std::int64_t)>& work) {
    std::atomic<std::int64_t> next{0};
    const auto run = [&] {
        for (std::int64_t i = next++; i < count; i = next++) work(i);
    };
    const std::int64_t useful = std::min({std::int64_t{threads}, count, elements / kWorthAThread});
    std::vector<std::jthread> others;
    for (std::int64_t i = 1; i < useful; ++i) others.emplace_back(run);
    run();
}

// Inputs in at most kInputBlocks blocks: the split depends on the shape alone, and so does the order of every sum.
void by_input_blocks(std::int64_t inputs, std::int64_t inner, std::int64_t sums, std::int64_t elements, float* by_scale,
                     float* by_shift, int threads, const std::function<void(const Part&)>& work) {
    const std::int64_t parts = std::min(inputs, kInputBlocks);
    std::vector<float> partial(2 * parts * sums);
    parallel(parts, elements, threads, [&](std::int64_t i) {
        float* scale_sums = partial.data() + 2 * i * sums;
        work(Part{inputs * i / parts, inputs * (i + 1) / parts, 0, inner, scale_sums, scale_sums + sums});
    });
    for (std::int64_t i = 0; i < parts; ++i)
        for (std::int64_t j = 0; j < sums; ++j) {
            by_scale[j] += partial[2 * i * sums + j];
            by_shift[j] += partial[(2 * i + 1) * sums + j];
        }
}

}  // namespace

std::vector<std::string> instruction_sets() {
    std::vector<std::string> names;
    for (const Kernels* kernels : supported()) names.emplace_back(kernels->name);
    return names;
}

void fire(const Fire& job, const std::string& instruction_set, int threads) {
    const Kernels& kernels = named(instruction_set);
    const std::int64_t rows = job.inputs * job.samples, size = job.positions * job.channels;
    // Some parts more than threads, so that a thread that was interrupted does not hold up the others.
    const std::int64_t parts = threads == 1 ? 1 : std::min<std::int64_t>(rows, 4 * threads);
    parallel(parts, rows * size, threads, [&](std::int64_t i) {
        std::vector<float> scratch(scratch_size(job));
        kernels.fire_rows(job, rows * i / parts, rows * (i + 1) / parts, scratch.data());
    });
}

void fire_backward(const FireBackward& job, float* by_scale, float* by_shift, const std::string& instruction_set,
                   int threads) {
    const Kernels& kernels = named(instruction_set);
    const std::int64_t sums = job.by_run ? job.outer : job.inner;
    const std::int64_t elements = job.inputs * job.samples * job.outer * job.inner;
    std::fill_n(by_scale, sums, 0.0f);
    std::fill_n(by_shift, sums, 0.0f);
    if (job.outer == 1 && !job.by_run) {
        const std::int64_t parts = (job.inner + kColumns - 1) / kColumns;
        parallel(parts, elements, threads, [&](std::int64_t i) {
            const Part part{0, job.inputs, i * kColumns, std::min((i + 1) * kColumns, job.inner), by_scale, by_shift};
            kernels.fire_backward(job, part);
        });
        return;
    }
    by_input_blocks(job.inputs, job.inner, sums, elements, by_scale, by_shift, threads,
                    [&](const Part& part) { kernels.fire_backward(job, part); });
}

void fire_max(const FireMax& job, const std::string& instruction_set, int threads) {
    const Kernels& kernels = named(instruction_set);
    const std::int64_t rows = job.inputs * job.samples;
    const std::int64_t parts = threads == 1 ? 1 : std::min<std::int64_t>(rows, 4 * threads);
    parallel(parts, rows * job.positions * job.channels, threads, [&](std::int64_t i) {
        std::vector<float> scratch(kChunk);
        kernels.fire_max_rows(job, rows * i / parts, rows * (i + 1) / parts, scratch.data());
    });
}

void fire_max_backward(const FireMaxBackward& job, float* by_scale, float* by_shift, const std::string& instruction_set,
                       int threads) {
    const Kernels& kernels = named(instruction_set);
    const std::int64_t size = job.positions * job.window * job.channels, sums = job.shared ? job.channels : size;
    std::fill_n(by_scale, sums, 0.0f);
    std::fill_n(by_shift, sums, 0.0f);
    by_input_blocks(job.inputs, 0, sums, job.inputs * size, by_scale, by_shift, threads,
                    [&](const Part& part) { kernels.fire_max_backward(job, part); });
}

void standardize(const Standardize& job, const std::string& instruction_set, int threads) {
    const Kernels& kernels = named(instruction_set);
    const std::int64_t parts = threads == 1 ? 1 : std::min<std::int64_t>(job.inputs, 4 * threads);
    parallel(parts, job.inputs * job.outer * job.inner, threads, [&](std::int64_t i) {
        kernels.standardize(job, job.inputs * i / parts, job.inputs * (i + 1) / parts);
    });
}

void standardize_backward(const Standardize& job, float* by_gain, float* by_bias, const std::string& instruction_set,
                          int threads) {
    const Kernels& kernels = named(instruction_set);
    const std::int64_t sums = job.by_run ? job.outer : job.inner;
    std::fill_n(by_gain, sums, 0.0f);
    std::fill_n(by_bias, sums, 0.0f);
    by_input_blocks(job.inputs, job.inner, sums, job.inputs * job.outer * job.inner, by_gain, by_bias, threads,
                    [&](const Part& part) { kernels.standardize_backward(job, part); });
}

}  // namespace nsm
