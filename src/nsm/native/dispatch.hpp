// Chooses the instruction set, splits the work among threads. Results do not depend on how it was split.
#pragma once

#include <string>
#include <vector>

#include "kernels.hpp"

namespace nsm {

// The instruction sets that this processor has, best first; "portable" is always among them.
std::vector<std::string> instruction_sets();

// Throws std::invalid_argument where `instruction_set` is none of instruction_sets().
void fire(const Fire& job, const std::string& instruction_set, int threads);

// Writes by_scale and by_shift: outer elements each where job.by_run, else inner elements.
void fire_backward(const FireBackward& job, float* by_scale, float* by_shift, const std::string& instruction_set,
                   int threads);

// The same for the maximum over windows.
void fire_max(const FireMax& job, const std::string& instruction_set, int threads);
// Writes by_scale and by_shift: channels elements each where job.shared, else positions * window * channels.
void fire_max_backward(const FireMaxBackward& job, float* by_scale, float* by_shift, const std::string& instruction_set,
                       int threads);

// Writes job.s.
void standardize(const Standardize& job, const std::string& instruction_set, int threads);
// Writes job.grad_u, job.grad_power, and by_gain and by_bias: outer elements each where job.by_run, else inner elements.
void standardize_backward(const Standardize& job, float* by_gain, float* by_bias, const std::string& instruction_set,
                          int threads);

}  // namespace nsm
