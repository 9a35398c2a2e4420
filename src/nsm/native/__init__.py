"""C++ kernels for the library's central operators, beside their plain torch form in :mod:`nsm.functional`.

The environment variable ``NSM_KERNELS`` chooses: ``auto`` (default: the kernels where they are installed),
``native`` (the kernels, or an error) or ``off`` (plain torch). Samples are the same bits either way.
"""

from nsm.native.maximum import fire_max
from nsm.native.operators import fire
from nsm.native.paths import active
from nsm.native.standardize import standardize

__all__ = ["active", "fire", "fire_max", "standardize"]
