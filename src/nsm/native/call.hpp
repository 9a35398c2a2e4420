// One call of a compiled network: how it is divided among threads, and what is made of its samples. For inclusion in
// compiled.cpp.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>

#include "helpers.hpp"
#include "scratch.hpp"

namespace nsm {
namespace {

constexpr i64 kLeastPlaces = 8;     // lines of samples that a table must be used for
constexpr i64 kShares = 4;          // chunks for each thread, so that all end at about the same time
constexpr i64 kWave = 4096;         // pieces whose sums are kept at a time
constexpr int kLooks = 100;         // at what other threads have made before they are given way: a microsecond or two
constexpr i64 kDrawn = 8;           // multiplications that take as long as drawing a synapse
// Multiplications; fewer take less time than waking a thread.
constexpr i64 kWorthAThread = 2'000'000, kWorthAThreadOfTiles = 8'000'000;

i64 multiplications(const Layer& layer) {
    const Product& product = layer.product;
    if (layer.kind == Layer::Kind::pool || (layer.kind == Layer::Kind::first && product.limit == 0)) return 0;
    if (product.limit > 0) return product.elements() * product.units * kDrawn;
    return product.elements() / product.population * product.members() * product.segments * product.quads * 4 * (product.squares ? 2 : 1);
}

double surprise(double p) { return p > 0.0 ? -p * std::log(p) : 0.0; }

}  // namespace

// How a call is divided. A piece is some samples of one input, the same whatever else the call holds: sums over samples are
// made piece by piece. A chunk is what goes through all layers together: some pieces, or, where there are too few of them for
// the threads, some quads of them all.
struct Compiled::Plan {
    const ProgramKernels& kernels;
    const BitKernels* bits;
    std::vector<bool> as_bits;  // each layer's output
    i64 threads;
    i64 pieces;    // of an input
    i64 together;  // pieces in a chunk; 0 where pieces are divided
    i64 quads;     // in a chunk, at most

    Plan(const Compiled& self, const ProgramKernels& kernels, const BitKernels* bits, i64 count, i64 samples, i64 most)
        : kernels(kernels), bits(bits), as_bits(self.layers_.size()) {
        i64 each = 0;
        for (const Layer& layer : self.layers_) each += multiplications(layer);
        threads = std::clamp<i64>(each * samples * count / (kernels.tiles ? kWorthAThreadOfTiles : kWorthAThread), 1, most);
        pieces = (samples + self.piece_ - 1) / self.piece_;
        const i64 all = count * pieces, length = std::min(self.piece_, (samples + kQuad - 1) / kQuad * kQuad);
        const i64 rows = kernels.tiles ? self.tall_ : bits && self.may_be_bits(0) ? self.rows_ : self.piece_;
        // One thread makes the thresholds of several inputs then: more of them would wait longer for it than they gain.
        const bool few = count == 1 || (4 * count <= threads && count <= self.inputs_);
        if (threads > 1 && few && all < std::min(kShares * threads, kWave)) {
            const i64 share = (all * length / kQuad + threads - 1) / threads, tile = kTileRows / kQuad;
            together = 0;
            // Whole lines and tiles.
            plan_bits(self, tile);
            const i64 step = kernels.tiles || as_bits[0] ? tile : 1;
            quads = std::clamp(share / step * step, step, std::max(step, rows / kQuad / step * step));
        } else {
            const i64 line = bits && self.may_be_bits(0) ? (kLanes + length - 1) / length : 1;
            const i64 share = std::max(line, all / (threads * kShares));
            together = std::min({rows / length, self.inputs_, threads > 1 ? share : all});
            quads = together * length / kQuad;
        }
        plan_bits(self, quads);
    }

private:
    void plan_bits(const Compiled& self, i64 of_quads) {
        const i64 lines = (of_quads * kQuad + kLanes - 1) / kLanes;
        for (std::size_t i = 0; bits && i + 1 < self.layers_.size(); ++i) {
            const Product& reader = self.layers_[i + 1].product;
            as_bits[i] = self.may_be_bits(i) && (i == 0 || as_bits[i - 1]) &&
                         lines * reader.positions() * reader.members() >= kLeastPlaces;
        }
    }
};

// One call of run().
class Compiled::Call {
public:
    Call(const Compiled& self, const Plan& plan, const float* x, const i64* indices, i64 count, i64 offset, i64 samples,
         std::uint64_t seed, const Results& results)
        : self_(self), plan_(plan), x_(x), indices_(indices), count_(count), offset_(offset), samples_(samples),
          seed_(seed), results_(results), refused_(count), overflowed_(count),
          totals_((std::size_t)(count * width())), sums_((std::size_t)(std::min(all(), kWave) * width())) {}

    Outcome run(i64& failed) {
        if (plan_.together)
            draw_pieces();
        else
            draw_divided();
        failed = first_failed();
        if (failed < count_) return failed == refused_ ? Outcome::not_finite : Outcome::overflow;
        for (i64 input = 0; input < count_; ++input) conclude(input);
        return Outcome::done;
    }

private:
    i64 all() const { return count_ * plan_.pieces; }
    i64 width() const { return self_.classes_ + 1; }
    i64 stride() const { return self_.layers_.back().product.panels.padded(); }
    i64 first_sample(i64 piece) const { return piece % plan_.pieces * self_.piece_; }
    i64 length(i64 piece) const { return std::min(self_.piece_, samples_ - first_sample(piece)); }
    i64 quads(i64 piece) const { return (length(piece) + kQuad - 1) / kQuad; }
    i64 first_failed() const { return std::min<i64>(refused_, overflowed_); }

    static void lower(std::atomic<i64>& least, i64 value) {
        for (i64 seen = least; value < seen && !least.compare_exchange_weak(seen, value);) continue;
    }

    // Takes an input into the scratch's next slot, without its thresholds. Returns whether it is finite.
    bool received(Scratch& scratch, i64 input) {
        const Image& image = (self_.reals_.empty() ? self_.layers_ : self_.reals_).front().input.image;
        const i64 units = image.height * image.width * image.channels;
        const float* values = x_ + input * units;
        if (!std::all_of(values, values + units, [](float value) { return std::isfinite(value); })) {
            lower(refused_, input);
            return false;
        }
        scratch.slot = (scratch.slot + 1) % scratch.slots;
        self_.receive(plan_.kernels, values, scratch);
        return true;
    }

    void make_thresholds(i64 input, i64 first, i64 last, const Scratch& of, void* work) {
        if (!self_.make_thresholds(plan_.kernels, first, last, of, work)) lower(overflowed_, input);
    }

    // Whether the thresholds of an input are there.
    bool prepared(Scratch& scratch, i64 input) {
        if (scratch.input == input) return true;
        if (!received(scratch, input)) return false;
        make_thresholds(input, 0, self_.parts(), scratch, scratch.work);
        if (overflowed_ <= input) return false;
        scratch.input = input;
        return true;
    }

    // The quads of a piece whose input is prepared.
    void append_quads(const Scratch& scratch, i64 piece, std::vector<Quad>& to) const {
        const i64 input = piece / plan_.pieces, first = (offset_ + first_sample(piece)) / kQuad;
        for (i64 q = 0; q < quads(piece); ++q)
            to.push_back({(std::uint32_t)(indices_ ? indices_[input] : input), (std::uint32_t)(first + q),
                          scratch.limit(), scratch.side(), scratch.image(self_.reals_.size())});
    }

    // Calls work(chunk, scratch) for all chunks.
    template <typename Work>
    void on_threads(i64 chunks, const Work& work) const {
        std::atomic<i64> next{0};
        with_helpers(std::min(plan_.threads, chunks) - 1, [&] {
            i64 chunk = next++;
            if (chunk >= chunks) return;
            const Borrowed scratch(self_);
            for (; chunk < chunks; chunk = next++) work(chunk, *scratch);
        });
    }

    // Keeps the logits of a piece if they are asked for, and adds up its samples; the logits are used up.
    void sum_up(i64 piece, float* logits, double* sums) const {
        const i64 input = piece / plan_.pieces, classes = self_.classes_;
        if (results_.logits)
            for (i64 s = 0; s < length(piece); ++s)
                std::copy_n(logits + s * stride(), classes,
                            results_.logits + (input * samples_ + first_sample(piece) + s) * classes);
        float entropies[2 * kTotals];
        for (i64 s = 0; s < length(piece); s += kTotals, logits += kTotals * stride()) {
            const i64 some = std::min(kTotals, length(piece) - s);
            plan_.kernels.softmax(logits, stride(), some, classes, entropies);
            plan_.kernels.add_up(logits, stride(), some, classes, entropies, sums);
        }
    }

    void add_to_total(i64 piece, const double* sums) {
        for (i64 c = 0; c < width(); ++c) totals_[(std::size_t)(piece / plan_.pieces * width() + c)] += sums[c];
    }

    void draw_pieces() {
        for (i64 wave = 0, end; wave < all() && first_failed() == count_; wave = end) {
            end = std::min(all(), wave + kWave);
            std::fill(sums_.begin(), sums_.end(), 0.0);
            const auto sums = [&](i64 piece) { return sums_.data() + (piece - wave) * width(); };
            on_threads((end - wave + plan_.together - 1) / plan_.together, [&](i64 chunk, Scratch& scratch) {
                const i64 begin = wave + chunk * plan_.together, last = std::min(end, begin + plan_.together);
                scratch.quads.clear();
                for (i64 piece = begin; piece < last; ++piece) {
                    if (!prepared(scratch, piece / plan_.pieces)) return;
                    append_quads(scratch, piece, scratch.quads);
                }
                self_.pass(plan_, scratch, seed_);
                float* logits = scratch.logits;
                for (i64 piece = begin; piece < last; logits += quads(piece) * kQuad * stride(), ++piece)
                    sum_up(piece, logits, sums(piece));
            });
            // Piece by piece: the order does not depend on who computed which.
            for (i64 piece = wave; piece < end; ++piece) add_to_total(piece, sums(piece));
        }
    }

    // Threads share each piece of the few inputs, and the thresholds of a single one.
    void draw_divided() {
        const Borrowed own(self_);  // has the thresholds until all is drawn
        std::vector<Quad> list;
        for (i64 input = 0; input < count_; ++input) {
            if (!(count_ == 1 ? received(*own, input) : prepared(*own, input))) return;
            for (i64 piece = 0; piece < plan_.pieces; ++piece) append_quads(*own, input * plan_.pieces + piece, list);
        }
        const i64 count = (i64)list.size(), chunks = (count + plan_.quads - 1) / plan_.quads;
        const i64 parts = count_ == 1 ? self_.parts() : 0, share = std::max<i64>(1, parts / (2 * plan_.threads));
        // Threads turn logits into probabilities, unless somebody asks for them.
        const bool shared = !results_.logits;
        std::vector<float> logits((std::size_t)(count * kQuad * stride())), entropies((std::size_t)(count * kQuad * 2));
        alignas(64) std::atomic<i64> next_part{0}, made{0}, next_chunk{0};  // none in another's line of the cache
        with_helpers(std::min(plan_.threads, chunks) - 1, [&] {
            const Borrowed scratch(self_);
            for (i64 first; (first = next_part.fetch_add(share)) < parts;) {
                const i64 last = std::min(parts, first + share);
                make_thresholds(0, first, last, *own, (*scratch).work);
                made += last - first;
            }
            for (int looks = 0; made < parts;)
                if (looks < kLooks)
                    rest(), ++looks;
                else
                    std::this_thread::yield();
            if (first_failed() < count_) return;
            for (i64 chunk; (chunk = next_chunk++) < chunks;) {
                const i64 first = chunk * plan_.quads, last = std::min(count, first + plan_.quads);
                (*scratch).quads.assign(list.begin() + first, list.begin() + last);
                self_.pass(plan_, *scratch, seed_);
                const i64 samples = (last - first) * kQuad;
                float* drawn = logits.data() + first * kQuad * stride();
                std::copy_n((*scratch).logits, samples * stride(), drawn);
                if (shared)
                    plan_.kernels.softmax(drawn, stride(), samples, self_.classes_, entropies.data() + first * kQuad * 2);
            }
        });
        if (first_failed() < count_) return;
        i64 first = 0;
        for (i64 piece = 0; piece < all(); first += quads(piece) * kQuad, ++piece) {
            float* drawn = logits.data() + first * stride();
            double* sums = sums_.data() + piece * width();
            if (shared)
                plan_.kernels.add_up(drawn, stride(), length(piece), self_.classes_, entropies.data() + first * 2, sums);
            else
                sum_up(piece, drawn, sums);
            add_to_total(piece, sums);
        }
    }

    // From the sums over an input's samples to what is said of it.
    void conclude(i64 input) const {
        double entropy = 0.0, expected = 0.0;
        for (i64 c = 0; c < width(); ++c) {
            const double mean = totals_[(std::size_t)(input * width() + c)] / (double)samples_;
            if (c == self_.classes_) {
                expected = mean;
            } else {
                results_.probabilities[input * self_.classes_ + c] = (float)mean;
                entropy += surprise(mean);
            }
        }
        results_.entropy[input] = (float)entropy;
        results_.expected_entropy[input] = (float)expected;
        results_.mutual_information[input] = (float)std::max(0.0, entropy - expected);
    }

    const Compiled& self_;
    const Plan& plan_;
    const float* x_;
    const i64* indices_;
    i64 count_, offset_, samples_;
    std::uint64_t seed_;
    const Results& results_;
    std::atomic<i64> refused_, overflowed_;  // the first input that is not finite, or whose first layer overflows
    std::vector<double> totals_, sums_;      // of the samples of each input; of each piece that is kept at a time
};

}  // namespace nsm
