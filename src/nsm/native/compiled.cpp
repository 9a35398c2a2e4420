#include "compiled.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <stdexcept>
#include <thread>

namespace nsm {

#if defined(NSM_X86)
namespace avx512 {
extern const ProgramKernels program_kernels;
}
namespace avx2 {
extern const ProgramKernels program_kernels;
}
#endif
namespace portable {
extern const ProgramKernels program_kernels;
}

namespace {

using i64 = std::int64_t;

constexpr i64 kCache = 512 * 1024;  // bytes of activations that stay near the core
constexpr i64 kLongest = 128;       // samples in a chunk: more gain nothing
constexpr i64 kAlignment = 64;
constexpr i64 kWorthAThread = 4'000'000;  // multiplications; fewer take less time than starting a thread

i64 aligned(i64 bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

const ProgramKernels& named(const std::string& name) {
#if defined(NSM_X86)
    if (name == "avx512" && __builtin_cpu_supports("avx512vnni")) return avx512::program_kernels;
    if (name == "avx512" || name == "avx2") return avx2::program_kernels;
#endif
    if (name != "portable") throw std::invalid_argument("instruction set " + name + " is not one this processor has");
    return portable::program_kernels;
}

i64 multiplications(const Layer& layer) {
    const Product& product = layer.product;
    if (layer.kind == Layer::Kind::pool || layer.kind == Layer::Kind::first) return 0;
    return product.elements() * product.segments * product.quads * 4 * (product.squares ? 2 : 1);
}

double surprise(double p) { return p > 0.0 ? -p * std::log(p) : 0.0; }

}  // namespace

// What one thread works on: thresholds of one input, and a chunk's activations.
struct Compiled::Scratch {
    std::unique_ptr<std::uint8_t[]> memory;
    std::vector<Activations> outputs;  // of each layer
    float *padded, *logits;
    std::uint16_t *limit, *side;
    i64 input = -1;

    Scratch(const std::vector<Layer>& layers, i64 samples) {
        const Input& first = layers.front().input;
        const Product& last = layers.back().product;
        std::vector<i64> places;
        i64 size = 0;
        const auto reserve = [&](i64 bytes) {
            places.push_back(size);
            size += aligned(bytes + kSlack);
        };
        reserve(first.image.size * (i64)sizeof(float) + first.units * (i64)sizeof(Unit));
        reserve(first.product.elements() * (i64)sizeof(std::uint16_t));
        reserve(first.product.elements() * (i64)sizeof(std::uint16_t));
        reserve(samples * last.panels.padded() * (i64)sizeof(float));
        for (const Layer& layer : layers) {
            reserve(samples * layer.output.size);
            reserve(layer.squares ? samples * layer.output.size : 0);
        }
        memory = std::make_unique<std::uint8_t[]>((std::size_t)(size + kAlignment));
        const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(memory.get());
        std::uint8_t* base = memory.get() + (kAlignment - address % kAlignment) % kAlignment;
        std::size_t next = 0;
        const auto take = [&] { return base + places[next++]; };
        padded = reinterpret_cast<float*>(take());
        limit = reinterpret_cast<std::uint16_t*>(take());
        side = reinterpret_cast<std::uint16_t*>(take());
        logits = reinterpret_cast<float*>(take());
        for (const Layer& layer : layers) {
            std::uint8_t *codes = take(), *squares = take();
            std::fill_n(codes, samples * layer.output.size, layer.margin);
            outputs.push_back({layer.output, codes, layer.squares ? squares : nullptr});
        }
    }
};

Compiled::Compiled(std::vector<Layer> layers, i64 classes) : layers_(std::move(layers)), classes_(classes) {
    i64 bytes = 0;
    for (const Layer& layer : layers_) bytes += layer.output.size * (layer.squares ? 2 : 1);
    chunk_ = std::clamp(kCache / std::max<i64>(1, bytes) / kQuad * kQuad, kQuad, kLongest);
}

Compiled::~Compiled() = default;

std::unique_ptr<Compiled::Scratch> Compiled::borrow() const {
    const std::lock_guard<std::mutex> lock(guard_);
    if (idle_.empty()) return std::make_unique<Scratch>(layers_, chunk_);
    std::unique_ptr<Scratch> scratch = std::move(idle_.back());
    idle_.pop_back();
    scratch->input = -1;
    return scratch;
}

void Compiled::give_back(std::unique_ptr<Scratch> scratch) const {
    const std::lock_guard<std::mutex> lock(guard_);
    idle_.push_back(std::move(scratch));
}

Outcome Compiled::run(const float* x, const i64* indices, i64 count, i64 samples, std::uint64_t seed,
                      const Results& results, const std::string& instruction_set, int threads, i64& failed) const {
    const ProgramKernels& kernels = named(instruction_set);
    const Image& image = layers_.front().input.image;
    const i64 units = image.height * image.width * image.channels, stride = layers_.back().product.panels.padded();
    const i64 chunks = (samples + chunk_ - 1) / chunk_, width = classes_ + 1;
    std::vector<double> sums((std::size_t)(count * chunks * width));
    std::atomic<i64> next{0};
    std::atomic<i64> refused{count}, overflowed{count};
    const auto lower = [](std::atomic<i64>& least, i64 value) {
        for (i64 seen = least; value < seen && !least.compare_exchange_weak(seen, value);) continue;
    };
    const auto work = [&] {
        std::unique_ptr<Scratch> borrowed = borrow();
        Scratch& scratch = *borrowed;
        for (i64 item = next++; item < count * chunks; item = next++) {
            const i64 input = item / chunks, first = item % chunks * chunk_, here = std::min(chunk_, samples - first);
            const Chunk chunk{seed, (std::uint32_t)indices[input], (std::uint32_t)(first / kQuad),
                              (here + kQuad - 1) / kQuad};
            if (scratch.input != input) {
                const float* values = x + input * units;
                if (!std::all_of(values, values + units, [](float value) { return std::isfinite(value); })) {
                    lower(refused, input);
                    continue;
                }
                if (!kernels.first(layers_.front().input, values, scratch.padded, scratch.limit, scratch.side)) {
                    lower(overflowed, input);
                    continue;
                }
                scratch.input = input;
            }
            for (std::size_t i = 0; i < layers_.size(); ++i) {
                const Layer& layer = layers_[i];
                const Activations& to = scratch.outputs[i];
                switch (layer.kind) {
                    case Layer::Kind::first:
                        kernels.draw(layer.product, chunk, scratch.limit, scratch.side, to);
                        break;
                    case Layer::Kind::sampled:
                        kernels.fire(layer.product, chunk, scratch.outputs[i - 1], to);
                        break;
                    case Layer::Kind::pool:
                        kernels.pool(layer.pool, chunk, scratch.outputs[i - 1], to);
                        break;
                    case Layer::Kind::classifier:
                        kernels.classify(layer.product, chunk, scratch.outputs[i - 1], scratch.logits);
                }
            }
            if (results.logits)
                for (i64 s = 0; s < here; ++s)
                    std::copy_n(scratch.logits + s * stride, classes_,
                                results.logits + (input * samples + first + s) * classes_);
            kernels.average(scratch.logits, stride, here, classes_, sums.data() + item * width);
        }
        give_back(std::move(borrowed));
    };
    i64 each = 0;
    for (const Layer& layer : layers_) each += multiplications(layer);
    const i64 useful = std::min({(i64)threads, count * chunks, each * samples * count / kWorthAThread});
    {
        std::vector<std::jthread> others;
        for (i64 i = 1; i < useful; ++i) others.emplace_back(work);
        work();
    }
    failed = std::min<i64>(refused, overflowed);
    if (failed < count) return failed == refused ? Outcome::not_finite : Outcome::overflow;
    for (i64 input = 0; input < count; ++input) {
        double entropy = 0.0, expected = 0.0;
        for (i64 c = 0; c < width; ++c) {
            // Chunk by chunk: the order does not depend on who computed which.
            double sum = 0.0;
            for (i64 chunk = 0; chunk < chunks; ++chunk) sum += sums[(std::size_t)((input * chunks + chunk) * width + c)];
            const double mean = sum / (double)samples;
            if (c == classes_) {
                expected = mean;
            } else {
                results.probabilities[input * classes_ + c] = (float)mean;
                entropy += surprise(mean);
            }
        }
        results.entropy[input] = (float)entropy;
        results.expected_entropy[input] = (float)expected;
        results.mutual_information[input] = (float)std::max(0.0, entropy - expected);
    }
    return Outcome::done;
}

void limits(const float* argument, i64 count, std::uint16_t* limit, std::uint16_t* side,
            const std::string& instruction_set) {
    named(instruction_set).limits(argument, count, limit, side);
}

}  // namespace nsm
