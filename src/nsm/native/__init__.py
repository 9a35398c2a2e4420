"""C++ kernels for the library's central operators, beside their plain torch form in :mod:`nsm.functional`.

The environment variable ``NSM_KERNELS`` chooses: ``auto`` (default: the kernels for the best instruction set
of the processor, plain torch where they are not installed), ``amx``, ``avx512``, ``avx2``, ``neon`` or
``portable`` (the kernels for that one, or an error), ``off`` (plain torch). Samples are the same bits in
each. AMX is for compiled networks; all else runs on AVX512 there.
"""

from nsm.native.hear import hear
from nsm.native.maximum import fire_max
from nsm.native.operators import fire
from nsm.native.paths import active, instruction_set
from nsm.native.sense import sense
from nsm.native.standardize import standardize
from nsm.native.statistics import statistics
from nsm.native.synapse import synapse

__all__ = [
    "active",
    "fire",
    "fire_max",
    "hear",
    "instruction_set",
    "sense",
    "standardize",
    "statistics",
    "synapse",
]
