// Chooses the instruction set, splits the work among threads. Results do not depend on how it was split.
#pragma once

#include <string>
#include <vector>

#include "kernels.hpp"

namespace nsm {

// The instruction sets that this processor has, best first; "portable" is always among them.
std::vector<std::string> instruction_sets();

// What does a job: loops of one of instruction_sets() on up to so many threads.
struct Means {
    const Kernels& kernels;
    int threads;

    // Throws std::invalid_argument where `instruction_set` is none of instruction_sets().
    Means(const std::string& instruction_set, int threads);
};

void run(const Fire& job, const Means& means);
void run(const FireBackward& job, const Means& means);
void run(const FireMax& job, const Means& means);
void run(const FireMaxBackward& job, const Means& means);
void run(const Hear& job, const Means& means);
void run(const HearBackward& job, const Means& means);
void run(const Standardize& job, const Means& means);
void run(const StandardizeBackward& job, const Means& means);
void run(const Statistics& job, const Means& means);
void run(const StatisticsBackward& job, const Means& means);
void run(const Sense& job, const Means& means);
void run(const SenseBackward& job, const Means& means);
void run(const Synapse& job, const Means& means);

}  // namespace nsm
