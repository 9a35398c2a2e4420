// Numbers from a row's stream and samples from its thresholds. For inclusion in files that are compiled once for each
// instruction set.
#pragma once

#include "kernels.hpp"
#include "numbers.hpp"
#include "philox.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

// One uniform 24-bit number against one threshold; a broken threshold stays visible as NaN.
template <typename T>
inline void decide(const u32* words, const float* threshold, i64 count, T* __restrict z) {
    for (i64 i = 0; i < count; ++i) {
        const float limit = threshold[i];
        const float fired = (float)(std::int32_t)(words[i] >> 8) < limit ? 1.0f : -1.0f;
        store(z[i], limit == limit ? fired : limit);
    }
}

// The same by estimates of P(z' = -1), silent / all, that are off by less than `margin`. Returns whether they decide; else z says
// nothing.
template <typename T, typename Estimates>
inline bool decide_by_estimates(const u32* words, const Estimates& estimates, float margin, i64 count, T* __restrict z) {
    std::int32_t unsure = 0;
    for (i64 i = 0; i < count; ++i) {
        float silent, all;
        estimates(i, silent, all);
        const float left = (float)(std::int32_t)(~words[i] >> 8);  // 2^24 - 1 - uniform
        const float lead = fused(left, all, -16777216.0f * silent);
        unsure += !(from_bits(bits(lead) & 0x7fffffffu) > 16777216.0f * margin * all);
        store(z[i], lead >= 0.0f ? 1.0f : -1.0f);
    }
    return unsure == 0;
}

// One sample of up to kGroup elements. Few are so near to their thresholds that these must be known. estimates(i, silent, all)
// gives that of element i, thresholds(to) all thresholds.
template <typename T, typename Estimates, typename Thresholds>
inline void decide_once(const u32* words, const Estimates& estimates, float margin, i64 count, T* z,
                        const Thresholds& thresholds) {
    if (count == kGroup ? decide_by_estimates(words, estimates, margin, kGroup, z)
                        : decide_by_estimates(words, estimates, margin, count, z))
        return;
    alignas(64) float threshold[kGroup];
    thresholds(threshold);
    decide(words, threshold, count, z);
}

// The same from estimates of windows' products.
template <typename T, typename Thresholds>
inline void decide_once(const u32* words, const float* silent, const float* all, i64 window, i64 count, T* z,
                        const Thresholds& thresholds) {
    const auto estimates = [=](i64 i, float& one, float& of_all) { one = silent[i], of_all = all[i]; };
    decide_once(words, estimates, kMargin * (float)window, count, z, thresholds);
}

template <typename Job>
inline void draw(const Job& job, i64 row, i64 group, u32* words) {
    philox::sixteen(words, job.seed, (u32)group * 16, (u32)job.rows[2 * row + 1], (u32)job.rows[2 * row], job.place);
}

// Samples of elements first .. first + count of the stream, which lie side by side, for rows begin .. end.
template <typename T, typename Job>
void decide_side_by_side(const Job& job, i64 begin, i64 end, i64 first, i64 count, const float* threshold) {
    const i64 size = job.positions * job.channels;
    alignas(64) u32 words[kGroup];
    for (i64 row = begin; row < end; ++row) {
        T* z = static_cast<T*>(job.z) + row * size + first;
        for (i64 e = 0; e < count; e += kGroup) {
            draw(job, row, (first + e) / kGroup, words);
            if (count - e >= kGroup)
                decide(words, threshold + e, kGroup, z + e);
            else
                decide(words, threshold + e, count - e, z + e);
        }
    }
}

// ---- populations: averages of signs, each from numbers of its own

// Averages of `neurons` signs, whose sum is counted up for up to kGroup elements.
class Average {
public:
    void add(const float* z, i64 count) {
        for (i64 i = 0; i < count; ++i) sum_[i] += z[i];
    }

    template <typename T>
    void put(i64 neurons, i64 count, T* __restrict z) const {
        // As torch divides.
        for (i64 i = 0; i < count; ++i) store(z[i], sum_[i] / (float)neurons);
    }

private:
    alignas(64) float sum_[kGroup] = {};
};

// Averages over populations of so many neurons, of elements first .. first + count of a row. decide(k, e, n, words, to) gives the
// signs of neuron k for n elements from the e-th on; words() draws its numbers.
template <typename T, typename Job, typename Decide>
void average(const Job& job, i64 neurons, i64 row, i64 first, i64 count, const Decide& decide) {
    T* z = static_cast<T*>(job.z) + row * job.positions * job.channels + first;
    alignas(64) u32 words[kGroup];
    alignas(64) float one[kGroup];
    for (i64 e = 0; e < count; e += kGroup) {
        const i64 n = count - e < kGroup ? count - e : kGroup;
        const u32 group = (u32)((first + e) / kGroup);
        Average all;
        for (i64 k = 0; k < neurons; ++k) {
            const u32 place = job.place + (u32)(k * job.place_stride);
            const auto numbers = [&]() -> const u32* {
                philox::sixteen(words, job.seed, group * 16, (u32)job.rows[2 * row + 1], (u32)job.rows[2 * row], place);
                return words;
            };
            decide(k, e, n, numbers, one);
            all.add(one, n);
        }
        all.put(neurons, n, z + e);
    }
}

// The same for rows begin .. end from thresholds, those of a neuron kChunk behind those of the one before.
template <typename T, typename Job>
void decide_averages(const Job& job, i64 neurons, i64 begin, i64 end, i64 first, i64 count, const float* threshold) {
    for (i64 row = begin; row < end; ++row)
        average<T>(job, neurons, row, first, count, [&](i64 k, i64 e, i64 n, const auto& words, float* to) {
            decide(words(), threshold + k * kChunk + e, n, to);
        });
}

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
