// The jobs of the kernels, as the Python side hands them over, and the loops that do them.
//
// Every loop is compiled once per instruction set and gives the same samples on each of them.
#pragma once

#include <cstdint>

namespace nsm {

constexpr std::int64_t kGroup = 64;    // elements drawn together: 16 Philox blocks of 4 words
constexpr std::int64_t kChunk = 1024;  // elements of a contiguous row handled at a time; a multiple of kGroup
constexpr std::int64_t kLargestWindow = 64;
constexpr std::int64_t kLargestField = 256;  // synapses of a neuron that is summed up from its receptive field
constexpr std::int64_t kLanes = 16;  // neurons whose receptive fields are summed up side by side

// Gradients of a neuron, in the order of nsm.functional.ESTIMATORS; jobs name one by its number.
enum class Estimator { probability, straight_through, smoothed };

// Elements are float32, or bfloat16 where the job says so.
struct Fire {
    const void* u;         // inputs rows, u_stride elements apart
    void* z;               // inputs * samples dense rows
    const float* scale;    // in the order of u's rows; where shared: one per channel, repeated for kGroup elements more
    const float* shift;    // as scale, for each member
    const std::int64_t* rows;  // (sample, input) of each output row
    std::int64_t inputs, positions, channels, samples, u_stride;
    std::int64_t members;  // neurons that hear the same and whose average is the sample; 1 where position_last
    std::int64_t shift_stride, place_stride;  // from one member to the next
    std::uint64_t seed;
    std::uint32_t place;
    bool bfloat16;
    bool position_last;  // a row is (channels, positions) as in an NCHW image, else (positions, channels)
    bool shared;         // scale and shift are those of one position
};

struct FireBackward {
    const void* grad;    // inputs * samples dense rows
    const void* u;       // inputs rows, u_stride elements apart
    void* grad_u;        // inputs dense rows
    const float* scale;  // in the order of u's rows
    const float* shift;  // likewise, for each member
    float *by_scale, *by_shift;  // as scale and shift: outer elements where by_run, else inner elements
    std::int64_t inputs, samples, u_stride;
    std::int64_t members;        // of which the sample is the average; 1 where by_run
    std::int64_t outer, inner;  // a row is outer runs of inner contiguous elements
    std::int64_t estimator;
    bool bfloat16;
    bool by_run;  // one scale for each run, or (false) one for each element of a run
};

// The maximum over windows of K neurons: channel last, window k of position p at origin[p] + member[k].
struct FireMax {
    const void* u;  // inputs rows, u_stride elements apart
    void* z;        // inputs * samples dense rows of positions x channels
    const float* scale;  // one per channel where shared, else (positions, window, channels)
    const float* shift;
    const std::int64_t *origin, *member;
    const std::int64_t* rows;
    std::int64_t inputs, positions, window, channels, samples, u_stride;
    std::uint64_t seed;
    std::uint32_t place;
    bool bfloat16, shared;
};

struct FireMaxBackward {
    const void* grad;  // inputs * samples dense rows of positions x channels
    const void* u;
    void* grad_u;  // as u, with strides of its own
    const float* scale;
    const float* shift;
    float *by_scale, *by_shift;  // as scale
    const std::int64_t *origin, *member, *grad_origin, *grad_member;
    std::int64_t inputs, positions, window, channels, samples, u_stride, grad_u_stride;
    std::int64_t estimator;
    bool bfloat16, shared;
};

// Averages over populations of the maximum over windows of neurons, from what these hear: s as in Standardize, windows as in
// FireMax.
struct Hear {
    const void *u, *power;     // inputs rows, u_stride and power_stride elements apart; power null: s = u gain + bias
    void* z;                   // inputs * samples dense rows of positions x channels
    const float *gain, *bias;  // one per channel, repeated for kGroup elements more; bias for each of a population
    const std::int64_t *origin, *member, *rows;
    std::int64_t inputs, positions, window, channels, samples, u_stride, power_stride;
    std::int64_t population, bias_stride, place_stride;  // strides from one neuron of a population to the next
    float variance, extra;
    std::uint64_t seed;
    std::uint32_t place;
    bool bfloat16;  // u, power and z
};

struct HearBackward {
    const void* grad;  // as z
    const void *u, *power;
    void *grad_u, *grad_power;  // as u, with strides of their own; grad_power null where power is
    const float *gain, *bias;   // channels, bias for each of a population
    float *by_gain, *by_bias;   // likewise
    const std::int64_t *origin, *member, *grad_origin, *grad_member;
    std::int64_t inputs, positions, window, channels, samples, u_stride, power_stride, grad_stride, population;
    float variance, extra;
    std::int64_t estimator;
    bool bfloat16;
};

// s = (u gain + bias) / sqrt(2 (power variance + extra)), for each member another bias.
struct Standardize {
    const void *u, *power;  // inputs rows each, u_stride and power_stride elements apart, in the same order
    const float *gain, *bias;  // one per run, or (false) one for each element of a run; bias for each member
    float* s;                  // members x inputs dense rows in the order of u's
    std::int64_t inputs, members, u_stride, power_stride, outer, inner;
    float variance, extra;
    bool bfloat16, by_run;  // u and power
};

struct StandardizeBackward {
    const float* grad;            // as s
    const void *u, *power;
    const float *gain, *bias;
    void *grad_u, *grad_power;    // inputs dense rows in that order
    float *by_gain, *by_bias;     // as gain and bias
    std::int64_t inputs, members, u_stride, power_stride, outer, inner;
    float variance, extra;
    bool bfloat16, by_run;  // u, power and their gradients
};

// Sums of u - pivot and of (u - pivot)^2 over inputs, and over the elements of a run (by_run) or over runs.
struct Statistics {
    const void* u;  // inputs rows, u_stride elements apart
    const float* pivot;   // one per run, or (false) one for each element of a run
    float *sum, *square;  // likewise
    std::int64_t inputs, u_stride, outer, inner;
    bool bfloat16, by_run;  // u
};

// grad_u = by_sum + u by_square.
struct StatisticsBackward {
    const void* u;
    const float *by_sum, *by_square;  // as the sums
    void* grad_u;                     // dense rows in the order of u's
    std::int64_t inputs, u_stride, outer, inner;
    bool bfloat16, by_run;  // u and its gradient
};

// u = sum_j xi_ij w_ij z_j, every xi_ij drawn. One law is in force: measured where entries > 0, Gaussian where std > 0,
// else Bernoulli.
struct Synapse {
    const float* z;       // inputs x positions x groups x synapses; these filled up with zeros to a multiple of kGroup
    const float* weight;  // channels x synapses, likewise
    float* u;             // inputs * samples dense rows of positions x channels
    const std::int64_t* rows;
    const float* table;  // of entries equally likely factors
    std::int64_t inputs, positions, groups, channels, synapses, samples, entries;
    std::int64_t limit;  // a synapse transmits where its word lies below, at most 2^32
    float std;
    std::uint64_t seed;
    std::uint32_t place;
};

// Samples of the maximum over windows (of one neuron, or more) straight from the inputs: tap t of neuron k of position p
// lies at origin[p] + member[k] + tap[t].
struct Sense {
    const float* x;       // inputs rows, x_stride elements apart
    const float* weight;  // taps x channels; these filled up with zeros to a multiple of kLanes
    const float *gain, *bias;  // channels, likewise
    void* z;                   // inputs * samples dense rows of positions x channels
    const std::int64_t *origin, *member, *tap, *rows;
    std::int64_t inputs, positions, window, channels, taps, samples, x_stride;
    float variance, extra;
    std::uint64_t seed;
    std::uint32_t place;
    bool bfloat16;  // z
};

struct SenseBackward {
    const void* grad;  // as z
    const float *x, *weight, *gain, *bias;
    float* by_u;      // taps x channels, filled up: sums of z_j du; behind them the gradient at the gain
    float* by_power;  // likewise: sums of z_j^2 dpower; the gradient at the bias
    const std::int64_t *origin, *member, *tap;
    std::int64_t inputs, positions, window, channels, taps, samples, x_stride;
    float variance, extra;
    std::int64_t estimator;
    bool bfloat16;
};

// A part of a pass that adds up: some inputs, some elements of every run; its sums go to scale and shift.
struct Part {
    std::int64_t first_input, last_input, first, last;
    float *scale, *shift;
};

// Positions of a position-last row handled at a time: a multiple of kGroup, about 16 K elements, which stay in cache.
constexpr std::int64_t position_chunk(const Fire& job) {
    const std::int64_t groups = 16384 / (kGroup * job.channels), all = (job.positions + kGroup - 1) / kGroup;
    return kGroup * (groups < 1 ? 1 : groups < all ? groups : all);
}

// Floats of scratch memory that fire needs: thresholds; and, where words must be turned into the order of memory, those
// as turned and a group of positions as drawn.
constexpr std::int64_t scratch_size(const Fire& job) {
    return job.position_last ? (2 * position_chunk(job) + kGroup) * job.channels : job.members * kChunk;
}

constexpr std::int64_t scratch_size(const FireMax&) { return kChunk; }
constexpr std::int64_t scratch_size(const Hear& job) { return job.population * kChunk; }
// Two numbers for each element; of one position; two for a window that hears nothing; and two bytes for each input.
constexpr std::int64_t scratch_size(const Sense& job) { return (2 * kGroup + 3) * job.channels + (job.x_stride + 1) / 2; }
// The square of each input, and two bytes for each.
constexpr std::int64_t scratch_size(const SenseBackward& job) { return job.x_stride + (job.x_stride + 1) / 2; }

// The loops of one instruction set: first to last are rows of the output, inputs, or (synapse) elements of the output.
struct Kernels {
    void (*fire)(const Fire& job, std::int64_t first, std::int64_t last, float* scratch);
    void (*fire_backward)(const FireBackward& job, const Part& part);
    void (*fire_max)(const FireMax& job, std::int64_t first, std::int64_t last, float* scratch);
    void (*fire_max_backward)(const FireMaxBackward& job, const Part& part);
    void (*hear)(const Hear& job, std::int64_t first, std::int64_t last, float* scratch);
    void (*hear_backward)(const HearBackward& job, const Part& part);
    void (*standardize)(const Standardize& job, std::int64_t first, std::int64_t last);
    void (*standardize_backward)(const StandardizeBackward& job, const Part& part);
    void (*statistics)(const Statistics& job, const Part& part);
    void (*statistics_backward)(const StatisticsBackward& job, std::int64_t first, std::int64_t last);
    void (*sense)(const Sense& job, std::int64_t first, std::int64_t last, float* scratch);
    void (*sense_backward)(const SenseBackward& job, const Part& part, float* scratch);
    void (*synapse)(const Synapse& job, std::int64_t first, std::int64_t last);
};

}  // namespace nsm
