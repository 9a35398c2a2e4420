#include "dispatch.hpp"

#include <algorithm>
#include <atomic>
#include <functional>
#include <stdexcept>

#if defined(__linux__)
#if defined(NSM_ARM)
#include <sys/auxv.h>
#endif
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "helpers.hpp"

namespace nsm {

#if defined(NSM_X86)
namespace avx512 {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
#endif
#if defined(NSM_ARM)
namespace neon {
extern const Kernels kernels;
}
#endif
namespace portable {
extern const Kernels kernels;
}

namespace {

#if defined(NSM_X86)
// Linux lets a process use tiles once it has asked for their registers.
bool tiles_allowed() {
#if defined(__linux__)
    constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
    return __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-int8") &&
           syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
#else
    return false;
#endif
}
#endif

#if defined(NSM_ARM)
// Whether the processor has what 64-bit ARM leaves open: dot products of bytes, and AES.
bool neon_complete() {
#if defined(__linux__)
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) && (getauxval(AT_HWCAP) & HWCAP_AES);
#else
    return false;
#endif
}
#endif

constexpr std::int64_t kWorthAThread = 32768;  // elements; fewer take less time than waking a thread
constexpr std::int64_t kColumns = 256, kInputBlocks = 16;

// An instruction set and the loops that run on it.
struct Supported {
    std::string name;
    const Kernels* kernels;
};

std::vector<Supported> supported() {
    std::vector<Supported> found;
#if defined(NSM_X86)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
        // Compiled networks alone have loops for tiles.
        if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("vaes") && tiles_allowed())
            found.push_back({"amx", &avx512::kernels});
        found.push_back({"avx512", &avx512::kernels});
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back({"avx2", &avx2::kernels});
#endif
#if defined(NSM_ARM)
    if (neon_complete()) found.push_back({"neon", &neon::kernels});
#endif
    found.push_back({"portable", &portable::kernels});
    return found;
}

const std::vector<Supported>& all_supported() {
    static const std::vector<Supported> all = supported();
    return all;
}

const Kernels& named(const std::string& name) {
    for (const Supported& set : all_supported())
        if (name == set.name) return *set.kernels;
    throw std::invalid_argument("instruction set " + name + " is not one this processor has");
}

// Calls work(0) .. work(count - 1), each once, on up to `threads` threads.
void parallel(std::int64_t count, std::int64_t elements, int threads, const std::function<void(std::int64_t)>& work) {
    std::atomic<std::int64_t> next{0};
    const std::int64_t useful = std::min({std::int64_t{threads}, count, elements / kWorthAThread});
    with_threads_of_torch(useful - 1, [&] {
        for (std::int64_t i = next++; i < count; i = next++) work(i);
    });
}

// Calls work(first, last) for all `count` rows or inputs in parts: some more than threads, so that a thread that was
// interrupted does not hold up the others.
void by_parts(std::int64_t count, std::int64_t elements, int threads,
              const std::function<void(std::int64_t, std::int64_t)>& work) {
    const std::int64_t parts = threads == 1 ? 1 : std::min<std::int64_t>(count, 4 * threads);
    parallel(parts, elements, threads,
             [&](std::int64_t i) { work(count * i / parts, count * (i + 1) / parts); });
}

// Where two sums over all inputs go: one of count elements, and one of as many for each member.
struct Sums {
    float *scale, *shift;
    std::int64_t count, members = 1;
};

// Inputs in at most kInputBlocks blocks: the split depends on the shape alone, and so does the order of every sum.
void by_input_blocks(std::int64_t inputs, std::int64_t inner, std::int64_t elements, const Sums& sums, int threads,
                     const std::function<void(const Part&)>& work) {
    const std::int64_t parts = std::min(inputs, kInputBlocks), shifts = sums.members * sums.count;
    std::vector<float> partial(parts * (sums.count + shifts));
    parallel(parts, elements, threads, [&](std::int64_t i) {
        float* scale = partial.data() + i * (sums.count + shifts);
        work(Part{inputs * i / parts, inputs * (i + 1) / parts, 0, inner, scale, scale + sums.count});
    });
    std::fill_n(sums.scale, sums.count, 0.0f);
    std::fill_n(sums.shift, shifts, 0.0f);
    for (std::int64_t i = 0; i < parts; ++i) {
        const float* scale = partial.data() + i * (sums.count + shifts);
        for (std::int64_t j = 0; j < sums.count; ++j) sums.scale[j] += scale[j];
        for (std::int64_t j = 0; j < shifts; ++j) sums.shift[j] += scale[sums.count + j];
    }
}

// Draws for an element of the output.
template <typename Job>
std::int64_t draws(const Job&) {
    return 1;
}
std::int64_t draws(const Fire& job) { return job.members; }
std::int64_t draws(const Hear& job) { return job.population; }

template <typename Job>
void draw(const Job& job, void (*loop)(const Job&, std::int64_t, std::int64_t, float*), int threads) {
    const std::int64_t rows = job.inputs * job.samples, elements = rows * job.positions * job.channels * draws(job);
    by_parts(rows, elements, threads, [&](std::int64_t first, std::int64_t last) {
        std::vector<float> scratch(scratch_size(job));
        loop(job, first, last, scratch.data());
    });
}

}  // namespace

std::vector<std::string> instruction_sets() {
    std::vector<std::string> names;
    for (const Supported& set : all_supported()) names.push_back(set.name);
    return names;
}

Means::Means(const std::string& instruction_set, int threads) : kernels(named(instruction_set)), threads(threads) {}

void run(const Fire& job, const Means& means) { draw(job, means.kernels.fire, means.threads); }

void run(const FireBackward& job, const Means& means) {
    const std::int64_t elements = job.inputs * job.samples * job.outer * job.inner * job.members;
    if (job.outer == 1 && !job.by_run) {
        std::fill_n(job.by_scale, job.inner, 0.0f);
        std::fill_n(job.by_shift, job.members * job.inner, 0.0f);
        const std::int64_t parts = (job.inner + kColumns - 1) / kColumns;
        parallel(parts, elements, means.threads, [&](std::int64_t i) {
            const std::int64_t last = std::min((i + 1) * kColumns, job.inner);
            means.kernels.fire_backward(job, Part{0, job.inputs, i * kColumns, last, job.by_scale, job.by_shift});
        });
        return;
    }
    by_input_blocks(job.inputs, job.inner, elements,
                    {job.by_scale, job.by_shift, job.by_run ? job.outer : job.inner, job.members}, means.threads,
                    [&](const Part& part) { means.kernels.fire_backward(job, part); });
}

void run(const FireMax& job, const Means& means) { draw(job, means.kernels.fire_max, means.threads); }

void run(const FireMaxBackward& job, const Means& means) {
    const std::int64_t size = job.positions * job.window * job.channels;
    by_input_blocks(job.inputs, 0, job.inputs * size, {job.by_scale, job.by_shift, job.shared ? job.channels : size},
                    means.threads, [&](const Part& part) { means.kernels.fire_max_backward(job, part); });
}

void run(const Hear& job, const Means& means) { draw(job, means.kernels.hear, means.threads); }

void run(const HearBackward& job, const Means& means) {
    by_input_blocks(job.inputs, 0, job.inputs * job.positions * job.window * job.channels * job.population,
                    {job.by_gain, job.by_bias, job.channels, job.population}, means.threads,
                    [&](const Part& part) { means.kernels.hear_backward(job, part); });
}

void run(const Standardize& job, const Means& means) {
    by_parts(job.inputs, job.members * job.inputs * job.outer * job.inner, means.threads,
             [&](std::int64_t first, std::int64_t last) { means.kernels.standardize(job, first, last); });
}

void run(const StandardizeBackward& job, const Means& means) {
    by_input_blocks(job.inputs, job.inner, job.members * job.inputs * job.outer * job.inner,
                    {job.by_gain, job.by_bias, job.by_run ? job.outer : job.inner, job.members}, means.threads,
                    [&](const Part& part) { means.kernels.standardize_backward(job, part); });
}

void run(const Statistics& job, const Means& means) {
    by_input_blocks(job.inputs, job.inner, job.inputs * job.outer * job.inner,
                    {job.sum, job.square, job.by_run ? job.outer : job.inner}, means.threads,
                    [&](const Part& part) { means.kernels.statistics(job, part); });
}

void run(const StatisticsBackward& job, const Means& means) {
    by_parts(job.inputs, job.inputs * job.outer * job.inner, means.threads,
             [&](std::int64_t first, std::int64_t last) { means.kernels.statistics_backward(job, first, last); });
}

void run(const Sense& job, const Means& means) { draw(job, means.kernels.sense, means.threads); }

void run(const SenseBackward& job, const Means& means) {
    const std::int64_t lanes = (job.channels + kLanes - 1) / kLanes * kLanes;
    by_input_blocks(job.inputs, 0, job.inputs * job.positions * job.window * job.channels * job.taps,
                    {job.by_u, job.by_power, (job.taps + 1) * lanes}, means.threads,
                    [&](const Part& part) {
                        std::vector<float> scratch(scratch_size(job));
                        means.kernels.sense_backward(job, part, scratch.data());
                    });
}

void run(const Synapse& job, const Means& means) {
    const std::int64_t sums = job.inputs * job.samples * job.positions * job.channels;
    by_parts(sums, sums * job.synapses, means.threads,
             [&](std::int64_t first, std::int64_t last) { means.kernels.synapse(job, first, last); });
}

}  // namespace nsm
