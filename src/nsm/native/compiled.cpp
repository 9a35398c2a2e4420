#include "compiled.hpp"

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <thread>

#include "call.hpp"
#include "scratch.hpp"

namespace nsm {

#if defined(NSM_X86)
namespace amx {
extern const ProgramKernels program_kernels;
}
namespace avx512 {
extern const ProgramKernels program_kernels;
extern const BitKernels bit_kernels;
}
namespace vnni {
extern const ProgramKernels program_kernels;
extern const BitKernels bit_kernels;
}
namespace avx2 {
extern const ProgramKernels program_kernels;
extern const BitKernels bit_kernels;
}
#endif
#if defined(NSM_ARM)
namespace neon {
extern const ProgramKernels program_kernels;
extern const BitKernels bit_kernels;
}
#endif
namespace portable {
extern const ProgramKernels program_kernels;
}

namespace {

using i64 = std::int64_t;

constexpr i64 kCache = 512 * 1024;  // bytes of activations that stay near the core
constexpr i64 kLongest = 128;       // samples in a piece
constexpr i64 kRows = 1024;         // samples in a chunk: more gain nothing
constexpr i64 kSpace = 64 << 20;    // bytes of thresholds that a thread may have
constexpr std::uint64_t kTrials = 32;  // of so many passes with tables one tries whether samples are alike

const ProgramKernels& named(const std::string& name) {
#if defined(NSM_X86)
    if (name == "amx") return amx::program_kernels;
    const bool wide = name == "avx512" && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("aes");
    if (wide) return __builtin_cpu_supports("vaes") ? avx512::program_kernels : vnni::program_kernels;
    if ((name == "avx512" || name == "avx2") && __builtin_cpu_supports("aes")) return avx2::program_kernels;
    if (name == "avx512" || name == "avx2") return portable::program_kernels;
#endif
#if defined(NSM_ARM)
    if (name == "neon") return neon::program_kernels;
#endif
    if (name != "portable") throw std::invalid_argument("instruction set " + name + " is not one this processor has");
    return portable::program_kernels;
}

const BitKernels* bit_kernels(const ProgramKernels& kernels) {
#if defined(NSM_X86)
    if (&kernels == &avx512::program_kernels) return &avx512::bit_kernels;
    if (&kernels == &vnni::program_kernels) return &vnni::bit_kernels;
    if (&kernels == &avx2::program_kernels) return &avx2::bit_kernels;
#endif
#if defined(NSM_ARM)
    if (&kernels == &neon::program_kernels) return &neon::bit_kernels;
#endif
    (void)kernels;
    return nullptr;
}

}  // namespace

bool Compiled::may_be_bits(std::size_t i) const {
    const Layer &layer = layers_[i], &reader = layers_[i + 1];
    const bool draws = layer.kind == Layer::Kind::first || layer.kind == Layer::Kind::sampled;
    return draws && layer.product.limit == 0 && layer.product.panels.groups == 1 && reader.kind != Layer::Kind::pool && reader.product.subsets;
}

Compiled::Compiled(const std::vector<Layer>& layers, i64 classes) : classes_(classes) {
    bool real = true;
    for (const Layer& layer : layers) {
        real = real && layer.kind != Layer::Kind::first;
        (real ? reals_ : layers_).push_back(layer);
    }
    alike_ = std::vector<std::atomic<bool>>(layers_.size());
    i64 codes = 0, fewest = 0;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
        const Layer& layer = layers_[i];
        const i64 bytes = layer.output.size * (layer.squares ? 2 : 1);
        const bool bits = i + 1 < layers_.size() && may_be_bits(i);
        codes += bytes;
        fewest += bits ? lines_of(layer.output) * (i64)sizeof(std::uint16_t) : bytes;
    }
    const auto fitting = [](i64 bytes, i64 most) {
        return std::clamp(kCache / std::max<i64>(1, bytes) / kQuad * kQuad, kQuad, most);
    };
    piece_ = fitting(codes, kLongest);
    // Of a line of bits all lanes take as long as one.
    rows_ = std::max({piece_, fitting(fewest, kRows), fewest < codes ? kLanes : kQuad});
    tall_ = std::max({piece_, fitting(codes, kRows), kTileRows});
    const i64 thresholds = layers_.front().product.elements() * 2 * (i64)sizeof(std::uint16_t);
    const i64 tallest = std::max(rows_, tall_), least = std::min(tallest / piece_, std::max<i64>(1, kSpace / thresholds));
    inputs_ = std::clamp(kCache / thresholds, least, tallest / kQuad);
}

Compiled::~Compiled() = default;

std::unique_ptr<Compiled::Scratch> Compiled::borrow() const {
    {
        const std::lock_guard<std::mutex> lock(guard_);
        if (!idle_.empty()) {
            std::unique_ptr<Scratch> scratch = std::move(idle_.back());
            idle_.pop_back();
            scratch->input = -1;
            return scratch;
        }
    }
    auto scratch = std::make_unique<Scratch>(*this);
    const std::lock_guard<std::mutex> lock(guard_);
    idle_.reserve(++scratches_);
    return scratch;
}

void Compiled::give_back(std::unique_ptr<Scratch> scratch) const {
    const std::lock_guard<std::mutex> lock(guard_);
    idle_.push_back(std::move(scratch));
}

// What the first stochastic layer receives of an input, into the scratch's slot.
void Compiled::receive(const ProgramKernels& kernels, const float* x, Scratch& scratch) const {
    const Input& entry = (reals_.empty() ? layers_ : reals_).front().input;
    kernels.spread(entry.image, entry.binarize, x, scratch.image(0));
    for (std::size_t i = 0; i < reals_.size(); ++i) {
        const Layer& layer = reals_[i];
        if (layer.kind == Layer::Kind::pool)
            kernels.largest(layer.pool, layer.input.image, scratch.image(i), layer.output, scratch.image(i + 1));
        else
            kernels.real(layer.input, scratch.image(i), scratch.work, layer.output, scratch.image(i + 1));
    }
}

// In how many parts an input's thresholds can be made.
i64 Compiled::parts() const {
    const Product& product = layers_.front().product;
    return product.limit > 0 ? 1 : product.positions() > 1 ? product.positions() : product.panels.count();
}

// Some parts of the thresholds in the slot of a scratch that has received. Returns whether all are numbers.
bool Compiled::make_thresholds(const ProgramKernels& kernels, i64 first, i64 last, const Scratch& of, void* work) const {
    const Input& input = layers_.front().input;
    const Product& product = input.product;
    const float* received = of.image(reals_.size());
    if (product.limit > 0) return kernels.bounded(input, received);
    const Region region = product.positions() > 1 ? Region{first, last, 0, product.panels.count()} : Region{0, 1, first, last};
    return kernels.first(input, received, work, region, of.limit(), of.side());
}

// All layers, for the scratch's quads.
void Compiled::pass(const Plan& plan, Scratch& scratch, std::uint64_t seed) const {
    const Chunk chunk{seed, scratch.quads.data(), (i64)scratch.quads.size()};
    const bool trial = plan.as_bits[0] && passes_++ % kTrials == 0;
    const auto compared = [&](std::size_t i) { return layers_[i].product.rows && (trial || alike_[i]); };
    bool bits = true;
    Activations from{}, to{};
    for (std::size_t i = 0; i < layers_.size(); ++i, from = to) {
        const Layer& layer = layers_[i];
        const Product& product = layer.product;
        bits = bits && plan.as_bits[i] && !compared(i + 1);
        to = scratch.outputs[i];
        if (!bits) to.bits = nullptr;
        switch (layer.kind) {
            case Layer::Kind::real:
                break;  // done with the thresholds
            case Layer::Kind::first:
                if (product.limit > 0)
                    plan.kernels.sense(layer.input, chunk, to);
                else
                    (to.bits ? plan.bits->draw : plan.kernels.draw)(product, chunk, to);
                break;
            case Layer::Kind::sampled:
                if (product.limit > 0)
                    plan.kernels.transmit(product, chunk, from, to);
                else if (from.bits)
                    plan.bits->fire(product, chunk, from, to, scratch.sums);
                else
                    alike_[i] = 2 * plan.kernels.fire(product, chunk, from, to, scratch.sums) > chunk.quads;
                if (layer.residual) plan.kernels.add(layer.pool, chunk, from, to);
                break;
            case Layer::Kind::pool:
                plan.kernels.pool(layer.pool, chunk, from, to);
                break;
            case Layer::Kind::classifier:
                (from.bits ? plan.bits->classify : plan.kernels.classify)(product, chunk, from, scratch.logits, scratch.sums);
        }
    }
}

Outcome Compiled::run(const float* x, const i64* indices, i64 count, i64 offset, i64 samples, std::uint64_t seed,
                      const Results& results, const std::string& instruction_set, int threads, i64& failed) const {
    if (offset % kQuad != 0) throw std::invalid_argument("the first sample must be the first of a quad");
    const ProgramKernels& kernels = named(instruction_set);
    const Plan plan(*this, kernels, bit_kernels(kernels), count, samples, threads);
    return Call(*this, plan, x, indices, count, offset, samples, seed, results).run(failed);
}

void limits(const float* argument, i64 count, std::uint16_t* limit, std::uint16_t* side,
            const std::string& instruction_set) {
    named(instruction_set).limits(argument, count, limit, side);
}

i64 multiply_adds(i64 least, const std::string& instruction_set, int threads) {
    const ProgramKernels& kernels = named(instruction_set);
    std::atomic<i64> done{0};
    const auto work = [&] { done += kernels.multiply_adds(least); };
    {
        std::vector<std::jthread> others;
        for (int i = 1; i < threads; ++i) others.emplace_back(work);
        work();
    }
    return done;
}

}  // namespace nsm
