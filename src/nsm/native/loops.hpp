// What the files that are compiled once for each instruction set offer to its table.
#pragma once

#include "kernels.hpp"

namespace nsm::NSM_INSTRUCTION_SET {

void fire(const Fire& job, std::int64_t first, std::int64_t last, float* scratch);
void fire_backward(const FireBackward& job, const Part& part);
void fire_max(const FireMax& job, std::int64_t first, std::int64_t last, float* scratch);
void fire_max_backward(const FireMaxBackward& job, const Part& part);
void hear(const Hear& job, std::int64_t first, std::int64_t last, float* scratch);
void hear_backward(const HearBackward& job, const Part& part);
void standardize(const Standardize& job, std::int64_t first, std::int64_t last);
void standardize_backward(const StandardizeBackward& job, const Part& part);
void statistics(const Statistics& job, const Part& part);
void statistics_backward(const StatisticsBackward& job, std::int64_t first, std::int64_t last);
void sense(const Sense& job, std::int64_t first, std::int64_t last, float* scratch);
void sense_backward(const SenseBackward& job, const Part& part, float* scratch);
void synapse(const Synapse& job, std::int64_t first, std::int64_t last);

}  // namespace nsm::NSM_INSTRUCTION_SET
