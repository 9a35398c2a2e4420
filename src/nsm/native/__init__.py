"""C++ kernels for the library's central operator, beside their plain torch form in :mod:`nsm.functional`.

The environment variable ``NSM_KERNELS`` chooses: ``auto`` (default: the kernels for the best instruction set
of the processor, plain torch where they are not installed), ``avx512``, ``avx2`` or ``portable`` (the kernels
for that one, or an error), ``off`` (plain torch). Samples are the same bits in each.
"""

from nsm.native.operators import fire
from nsm.native.paths import active, instruction_set

__all__ = ["active", "fire", "instruction_set"]
