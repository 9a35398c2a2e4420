// The table of the loops of one instruction set.
#include "loops.hpp"

namespace nsm::NSM_INSTRUCTION_SET {

extern const Kernels kernels;
const Kernels kernels{
    .fire = fire,
    .fire_backward = fire_backward,
    .fire_max = fire_max,
    .fire_max_backward = fire_max_backward,
    .hear = hear,
    .hear_backward = hear_backward,
    .standardize = standardize,
    .standardize_backward = standardize_backward,
    .statistics = statistics,
    .statistics_backward = statistics_backward,
    .sense = sense,
    .sense_backward = sense_backward,
    .synapse = synapse,
};

}  // namespace nsm::NSM_INSTRUCTION_SET
