// Elements of a row whose windows lie anywhere in memory. For inclusion in files that are compiled once for each instruction set.
#pragma once

#include "numbers.hpp"

namespace nsm::NSM_INSTRUCTION_SET {
namespace {

// Calls use(p, c, e, run) for elements first + e .. first + e + run, which are channels c and on of position p; e goes from 0 to
// count.
template <typename Job, typename Use>
inline void for_runs(const Job& job, i64 first, i64 count, const Use& use) {
    for (i64 e = 0; e < count;) {
        const i64 p = (first + e) / job.channels, c = (first + e) % job.channels;
        const i64 run = job.channels - c < count - e ? job.channels - c : count - e;
        use(p, c, e, run);
        e += run;
    }
}

}  // namespace
}  // namespace nsm::NSM_INSTRUCTION_SET
