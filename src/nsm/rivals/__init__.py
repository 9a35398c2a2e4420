"""Methods that uncertainty is usually taken from, as networks that :func:`nsm.predict` samples like others.

A deterministic network needs nothing: :func:`nsm.predict` takes its one pass.
"""

from nsm.rivals.dropout import SampledDropout, mc_dropout
from nsm.rivals.ensemble import Ensemble
from nsm.rivals.laplace import LaplaceHead, last_layer_laplace

__all__ = ["Ensemble", "LaplaceHead", "SampledDropout", "last_layer_laplace", "mc_dropout"]
