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

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
