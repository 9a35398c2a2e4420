#include "compiled.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <stdexcept>
#include <thread>

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
constexpr i64 kTileRows = 32;       // samples that tiles take together
constexpr i64 kLeastPlaces = 8;     // lines of samples that a table must be used for
constexpr i64 kShares = 4;          // chunks for each thread, so that all end at about the same time
constexpr i64 kWave = 4096;         // pieces whose sums are kept at a time
constexpr i64 kAlignment = 64;
constexpr i64 kDrawn = 8;           // multiplications that take as long as drawing a synapse
constexpr i64 kWorthAThread = 4'000'000;  // multiplications; fewer take less time than starting a thread

i64 aligned(i64 bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

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

i64 multiplications(const Layer& layer) {
    const Product& product = layer.product;
    if (layer.kind == Layer::Kind::pool || (layer.kind == Layer::Kind::first && product.limit == 0)) return 0;
    if (product.limit > 0) return product.elements() * product.units * kDrawn;
    return product.elements() * product.members() * product.segments * product.quads * 4 * (product.squares ? 2 : 1);
}

double surprise(double p) { return p > 0.0 ? -p * std::log(p) : 0.0; }

}  // namespace

// How a call is divided. A piece is some samples of one input, the same whatever else the call holds: sums over samples are
// made piece by piece. A chunk is some pieces that go through all layers together, or a part of one piece where there are
// too few of them for the threads.
struct Compiled::Plan {
    const ProgramKernels& kernels;
    const BitKernels* bits;
    std::vector<bool> as_bits;  // each layer's output
    i64 pieces, together, parts;  // of an input; in a chunk; of a piece

    Plan(const Compiled& self, const ProgramKernels& kernels, i64 count, i64 samples, i64 threads)
        : kernels(kernels), bits(bit_kernels(kernels)), as_bits(self.layers_.size()) {
        pieces = (samples + self.piece_ - 1) / self.piece_;
        const i64 all = count * pieces, length = std::min(self.piece_, (samples + kQuad - 1) / kQuad * kQuad);
        const i64 share = std::max<i64>(1, all / (threads * kShares));
        const i64 rows = kernels.tiles ? self.tall_ : bits && self.may_be_bits(0) ? self.rows_ : self.piece_;
        together = std::min({rows / length, self.inputs_, threads > 1 ? share : all});
        const bool few = threads > 1 && all < 2 * threads && count <= self.inputs_;
        parts = few ? std::min((2 * threads + all - 1) / all, length / kQuad) : 1;
        const i64 lines = (together * length / parts + kLanes - 1) / kLanes;
        for (std::size_t i = 0; bits && i + 1 < self.layers_.size(); ++i) {
            const Product& reader = self.layers_[i + 1].product;
            as_bits[i] = self.may_be_bits(i) && (i == 0 || as_bits[i - 1]) &&
                         lines * reader.positions() * reader.members() >= kLeastPlaces;
        }
    }
};

bool Compiled::may_be_bits(std::size_t i) const {
    const Layer &layer = layers_[i], &reader = layers_[i + 1];
    const bool draws = layer.kind == Layer::Kind::first || layer.kind == Layer::Kind::sampled;
    return draws && layer.product.limit == 0 && layer.product.panels.groups == 1 && reader.kind != Layer::Kind::pool && reader.product.subsets;
}

// What one thread works on: thresholds of some inputs, and a chunk's activations.
struct Compiled::Scratch {
    std::unique_ptr<std::uint8_t[]> memory;
    std::vector<Activations> outputs;  // of each layer, both as codes and as bits
    std::vector<float*> images;        // what each real layer and the first one receive
    float* logits;
    std::uint16_t* thresholds;
    void *sums, *work;
    i64 slots, elements;  // inputs whose thresholds, or images, are kept; of each
    i64 image_size;       // of each
    i64 input = -1, slot = 0;  // the last one
    std::vector<Quad> quads;

    explicit Scratch(const Compiled& self) : slots(self.inputs_ + 1) {
        const std::vector<Layer>& layers = self.layers_;
        const Input& first = layers.front().input;
        const Product& last = layers.back().product;
        const i64 rows = (std::max(self.rows_, self.tall_) + kTileRows - 1) / kTileRows * kTileRows;
        elements = first.product.elements();
        std::vector<i64> places;
        i64 size = 0;
        const auto reserve = [&](i64 bytes) {
            places.push_back(size);
            size += aligned(bytes + kSlack);
        };
        i64 work_size = first.scratch();
        for (const Layer& layer : self.reals_) {
            reserve(layer.input.image.size * (i64)sizeof(float));
            work_size = std::max(work_size, layer.input.scratch());
        }
        image_size = first.product.limit > 0 ? first.image.size : 0;
        reserve((first.image.size + slots * image_size) * (i64)sizeof(float));
        reserve(work_size);
        reserve(slots * elements * 2 * (i64)sizeof(std::uint16_t));
        reserve(rows * last.panels.padded() * (i64)sizeof(float));
        i64 sums_size = 0;
        for (const Layer& layer : layers)
            if (layer.product.subsets) sums_size = std::max(sums_size, bit_scratch(layer.product));
        reserve(sums_size);
        for (std::size_t i = 0; i < layers.size(); ++i) {
            reserve(rows * layers[i].output.size);
            reserve(layers[i].squares ? rows * layers[i].output.size : 0);
            reserve(i + 1 < layers.size() && self.may_be_bits(i)
                        ? (rows + kLanes - 1) / kLanes * lines_of(layers[i].output) * kLanes * (i64)sizeof(std::uint16_t)
                        : 0);
        }
        memory = std::make_unique<std::uint8_t[]>((std::size_t)(size + kAlignment));
        const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(memory.get());
        std::uint8_t* base = memory.get() + (kAlignment - address % kAlignment) % kAlignment;
        std::size_t next = 0;
        const auto take = [&] { return base + places[next++]; };
        for (std::size_t i = 0; i <= self.reals_.size(); ++i) images.push_back(reinterpret_cast<float*>(take()));
        work = take();
        thresholds = reinterpret_cast<std::uint16_t*>(take());
        logits = reinterpret_cast<float*>(take());
        sums = take();
        for (const Layer& layer : layers) {
            std::uint8_t *codes = take(), *squares = take(), *bits = take();
            std::fill_n(codes, rows * layer.output.size, layer.margin);
            outputs.push_back({layer.output, codes, layer.squares ? squares : nullptr,
                               reinterpret_cast<std::uint16_t*>(bits)});
        }
    }

    std::uint16_t* limit() const { return thresholds + slot * elements * 2; }
    std::uint16_t* side() const { return limit() + elements; }
    // What layer i, a real one or the first stochastic one, receives.
    float* image(std::size_t i) const { return images[i] + (i + 1 == images.size() ? slot * image_size : 0); }
};

Compiled::Compiled(const std::vector<Layer>& layers, i64 classes) : classes_(classes) {
    for (const Layer& layer : layers) (layer.kind == Layer::Kind::real ? reals_ : layers_).push_back(layer);
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
    rows_ = std::max(piece_, fitting(fewest, kRows));
    tall_ = std::max({piece_, fitting(codes, kRows), kTileRows});
    const i64 thresholds = layers_.front().product.elements() * 2 * (i64)sizeof(std::uint16_t);
    inputs_ = std::clamp(kCache / thresholds, std::max(rows_, tall_) / piece_, std::max(rows_, tall_) / kQuad);
}

Compiled::~Compiled() = default;

std::unique_ptr<Compiled::Scratch> Compiled::borrow() const {
    const std::lock_guard<std::mutex> lock(guard_);
    if (idle_.empty()) return std::make_unique<Scratch>(*this);
    std::unique_ptr<Scratch> scratch = std::move(idle_.back());
    idle_.pop_back();
    scratch->input = -1;
    return scratch;
}

void Compiled::give_back(std::unique_ptr<Scratch> scratch) const {
    const std::lock_guard<std::mutex> lock(guard_);
    idle_.push_back(std::move(scratch));
}

// Scratch memory for as long as this lives.
class Compiled::Borrowed {
public:
    explicit Borrowed(const Compiled& from) : from_(from), scratch_(from.borrow()) {}
    ~Borrowed() { from_.give_back(std::move(scratch_)); }
    Borrowed(const Borrowed&) = delete;
    Borrowed& operator=(const Borrowed&) = delete;

    Scratch& operator*() const { return *scratch_; }

private:
    const Compiled& from_;
    std::unique_ptr<Scratch> scratch_;
};

// Thresholds of an input in the scratch's slot. Returns whether all are numbers.
bool Compiled::prepare(const ProgramKernels& kernels, const float* x, Scratch& scratch) const {
    const Input& entry = (reals_.empty() ? layers_ : reals_).front().input;
    kernels.spread(entry.image, entry.binarize, x, scratch.image(0));
    for (std::size_t i = 0; i < reals_.size(); ++i)
        kernels.real(reals_[i].input, scratch.image(i), scratch.work, reals_[i].output, scratch.image(i + 1));
    const Input& first = layers_.front().input;
    const float* received = scratch.image(reals_.size());
    if (first.product.limit > 0) return kernels.bounded(first, received);
    return kernels.first(first, received, scratch.work, scratch.limit(), scratch.side());
}

// All layers, for the scratch's quads.
void Compiled::pass(const Plan& plan, Scratch& scratch, std::uint64_t seed) const {
    const Chunk chunk{seed, scratch.quads.data(), (i64)scratch.quads.size()};
    const auto output = [&](std::size_t i) {
        Activations found = scratch.outputs[i];
        if (!plan.as_bits[i]) found.bits = nullptr;
        return found;
    };
    for (std::size_t i = 0; i < layers_.size(); ++i) {
        const Layer& layer = layers_[i];
        const Activations to = output(i), from = output(i > 0 ? i - 1 : 0);
        switch (layer.kind) {
            case Layer::Kind::real:
                break;  // done with the thresholds
            case Layer::Kind::first:
                if (layer.product.limit > 0)
                    plan.kernels.sense(layer.input, chunk, to);
                else
                    (to.bits ? plan.bits->draw : plan.kernels.draw)(layer.product, chunk, to);
                break;
            case Layer::Kind::sampled:
                if (layer.product.limit > 0)
                    plan.kernels.transmit(layer.product, chunk, from, to);
                else if (from.bits)
                    plan.bits->fire(layer.product, chunk, from, to, scratch.sums);
                else
                    plan.kernels.fire(layer.product, chunk, from, to);
                if (layer.residual) plan.kernels.add(layer.pool, chunk, from, to);
                break;
            case Layer::Kind::pool:
                plan.kernels.pool(layer.pool, chunk, from, to);
                break;
            case Layer::Kind::classifier:
                if (from.bits)
                    plan.bits->classify(layer.product, chunk, from, scratch.logits, scratch.sums);
                else
                    plan.kernels.classify(layer.product, chunk, from, scratch.logits);
        }
    }
}

Outcome Compiled::run(const float* x, const i64* indices, i64 count, i64 offset, i64 samples, std::uint64_t seed,
                      const Results& results, const std::string& instruction_set, int threads, i64& failed) const {
    if (offset % kQuad != 0) throw std::invalid_argument("the first sample must be the first of a quad");
    const ProgramKernels& kernels = named(instruction_set);
    const Image& image = (reals_.empty() ? layers_ : reals_).front().input.image;
    const i64 units = image.height * image.width * image.channels, stride = layers_.back().product.panels.padded();
    const i64 width = classes_ + 1;
    i64 each = 0;
    for (const Layer& layer : layers_) each += multiplications(layer);
    const i64 useful = std::clamp<i64>(each * samples * count / kWorthAThread, 1, threads);
    const Plan plan(*this, kernels, count, samples, useful);
    const i64 all = count * plan.pieces;
    // Sums of the samples of each input, and those of each piece of the wave of pieces that is at work.
    std::vector<double> totals((std::size_t)(count * width)), sums((std::size_t)(std::min(all, kWave) * width));
    std::vector<float> drawn((std::size_t)(plan.parts > 1 ? all * piece_ * stride : 0));  // logits of divided pieces
    const auto drawn_at = [&](i64 piece, i64 sample) { return drawn.data() + (piece * piece_ + sample) * stride; };
    std::atomic<i64> next{0};
    i64 wave = 0, wave_end = 0;
    std::atomic<i64> refused{count}, overflowed{count};
    const auto lower = [](std::atomic<i64>& least, i64 value) {
        for (i64 seen = least; value < seen && !least.compare_exchange_weak(seen, value);) continue;
    };
    // Whether the thresholds of an input are there.
    const auto prepared = [&](Scratch& scratch, i64 input) {
        if (scratch.input == input) return true;
        const float* values = x + input * units;
        if (!std::all_of(values, values + units, [](float value) { return std::isfinite(value); })) {
            lower(refused, input);
            return false;
        }
        scratch.slot = (scratch.slot + 1) % scratch.slots;
        if (!prepare(kernels, values, scratch)) {
            lower(overflowed, input);
            return false;
        }
        scratch.input = input;
        return true;
    };
    // What the samples of an input have in common. Where pieces are divided, threads share that of every input.
    const auto common = [&](const Scratch& scratch) {
        return Quad{0, 0, scratch.limit(), scratch.side(), scratch.image(reals_.size())};
    };
    const Borrowed own(*this);
    std::vector<Quad> shared;
    for (i64 input = 0; plan.parts > 1 && input < count && prepared(*own, input); ++input) shared.push_back(common(*own));
    const auto length = [&](i64 piece) { return std::min(piece_, samples - piece % plan.pieces * piece_); };
    // Samples of a piece before its parts from `part` on.
    const auto before = [&](i64 piece, i64 part) {
        return part == plan.parts ? length(piece) : length(piece) / kQuad * part / plan.parts * kQuad;
    };
    const auto work = [&](Scratch& scratch) {
        const i64 chunks = (wave_end - wave + plan.together - 1) / plan.together * plan.parts;
        for (i64 chunk = next++; chunk < chunks; chunk = next++) {
            const i64 begin = wave + chunk / plan.parts * plan.together, end = std::min(wave_end, begin + plan.together);
            const i64 part = chunk % plan.parts;
            scratch.quads.clear();
            bool sound = true;
            for (i64 piece = begin; piece < end && sound; ++piece) {
                const i64 input = piece / plan.pieces, first = piece % plan.pieces * piece_;
                sound = plan.parts > 1 ? (i64)shared.size() == count : prepared(scratch, input);
                if (!sound) break;
                Quad quad = plan.parts > 1 ? shared[(std::size_t)input] : common(scratch);
                quad.input = (std::uint32_t)(indices ? indices[input] : input);
                for (i64 s = before(piece, part); s < before(piece, part + 1); s += kQuad) {
                    quad.number = (std::uint32_t)((offset + first + s) / kQuad);
                    scratch.quads.push_back(quad);
                }
            }
            if (!sound || scratch.quads.empty()) continue;
            pass(plan, scratch, seed);
            float* logits = scratch.logits;
            for (i64 piece = begin; piece < end; ++piece) {
                const i64 input = piece / plan.pieces, first = piece % plan.pieces * piece_ + before(piece, part);
                const i64 made = before(piece, part + 1) - before(piece, part);
                if (results.logits)
                    for (i64 s = 0; s < made; ++s)
                        std::copy_n(logits + s * stride, classes_,
                                    results.logits + (input * samples + first + s) * classes_);
                if (plan.parts > 1)
                    std::copy_n(logits, made * stride, drawn_at(piece, before(piece, part)));
                else
                    kernels.average(logits, stride, made, classes_, sums.data() + (piece - wave) * width);
                logits += (made + kQuad - 1) / kQuad * kQuad * stride;
            }
        }
    };
    for (; wave < all; wave = wave_end) {
        wave_end = std::min(all, wave + kWave);
        next = 0;
        std::fill(sums.begin(), sums.end(), 0.0);
        {
            std::vector<std::jthread> others;
            const i64 chunks = (wave_end - wave + plan.together - 1) / plan.together * plan.parts;
            for (i64 i = 1; i < std::min(useful, chunks); ++i)
                others.emplace_back([&] { work(*Borrowed(*this)); });
            work(*own);
        }
        failed = std::min<i64>(refused, overflowed);
        if (failed < count) return failed == refused ? Outcome::not_finite : Outcome::overflow;
        for (i64 piece = 0; plan.parts > 1 && piece < all; ++piece)
            kernels.average(drawn_at(piece, 0), stride, length(piece), classes_, sums.data() + piece * width);
        // Piece by piece: the order does not depend on who computed which.
        for (i64 piece = wave; piece < wave_end; ++piece)
            for (i64 c = 0; c < width; ++c)
                totals[(std::size_t)(piece / plan.pieces * width + c)] += sums[(std::size_t)((piece - wave) * width + c)];
    }
    for (i64 input = 0; input < count; ++input) {
        double entropy = 0.0, expected = 0.0;
        for (i64 c = 0; c < width; ++c) {
            const double mean = totals[(std::size_t)(input * width + c)] / (double)samples;
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
