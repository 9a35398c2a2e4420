// A compiled network: its steps in order, run over inputs and samples on several threads.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "program.hpp"

namespace nsm {

struct Layer {
    enum class Kind { real, first, sampled, pool, classifier } kind;
    Input input;      // real, first; of a pool, its image
    Product product;  // all but pool
    Pool pool;        // pool; of a residual layer, how its input is added
    bool residual;    // sampled: what it receives is added to what it fires
    Image output;     // of real numbers or of codes; with `squares` a second image of the same shape
    bool squares;
    std::uint8_t margin;  // the code of 0 in the output's margins
};

struct Results {
    float *probabilities, *entropy, *expected_entropy, *mutual_information;  // (inputs, classes), then (inputs)
    float* logits;  // (inputs, samples, classes), or null
};

enum class Outcome { done, not_finite, overflow };

class Compiled {
public:
    // Layers: any number of real ones and poolings of them, a first one, sampled ones and poolings, a classifier.
    Compiled(const std::vector<Layer>& layers, std::int64_t classes);
    ~Compiled();

    // Runs `count` inputs x, each with its index in the random streams, its place in x where there are no `indices`:
    // samples offset .. offset + samples - 1, where offset is a multiple of kQuad. Stops at an input that is not finite or
    // whose first layer overflows, and says which one by `failed`.
    Outcome run(const float* x, const std::int64_t* indices, std::int64_t count, std::int64_t offset,
                std::int64_t samples, std::uint64_t seed, const Results& results, const std::string& instruction_set,
                int threads, std::int64_t& failed) const;

private:
    struct Plan;
    struct Scratch;
    class Borrowed;
    class Call;

    bool may_be_bits(std::size_t layer) const;  // its output
    void receive(const ProgramKernels& kernels, const float* x, Scratch& scratch) const;
    std::int64_t parts() const;
    bool make_thresholds(const ProgramKernels& kernels, std::int64_t first, std::int64_t last, const Scratch& of,
                         void* work) const;
    void pass(const Plan& plan, Scratch& scratch, std::uint64_t seed) const;
    std::unique_ptr<Scratch> borrow() const;
    void give_back(std::unique_ptr<Scratch> scratch) const;

    std::vector<Layer> reals_, layers_;  // in front of the first stochastic layer, and from there on
    std::int64_t classes_;
    std::int64_t piece_;         // samples of an input whose sums are made together
    std::int64_t rows_, tall_;   // samples that a chunk has at most: as bits; for tiles
    std::int64_t inputs_;        // inputs that it has at most
    // Kept from one call to the next: fresh memory costs more than the work on it.
    mutable std::mutex guard_;
    mutable std::vector<std::unique_ptr<Scratch>> idle_;  // has room for all that there are
    mutable std::size_t scratches_ = 0;
    // What decides how sums are made, and nothing else: of each layer, whether samples were alike when last tried.
    mutable std::vector<std::atomic<bool>> alike_;
    mutable std::atomic<std::uint64_t> passes_ = 0;
};

// The thresholds that ProgramKernels::limits makes of arguments.
void limits(const float* argument, std::int64_t count, std::uint16_t* limit, std::uint16_t* side,
            const std::string& instruction_set);

// At least so many multiply-adds on each thread, by the instructions of a product on registers; how many in all.
std::int64_t multiply_adds(std::int64_t least, const std::string& instruction_set, int threads);

}  // namespace nsm
