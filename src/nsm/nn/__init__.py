"""Stochastic layers with the signatures of ``torch.nn``, and what changes or prepares whole networks of
them.
"""

from nsm.nn.activation import Binarize, Sign
from nsm.nn.calibration import calibrate
from nsm.nn.centering import centered
from nsm.nn.context import FIDELITIES, Fidelity, fidelity
from nsm.nn.conv import Conv1d, Conv2d, Conv3d
from nsm.nn.convert import convert
from nsm.nn.drawing import Drawing
from nsm.nn.draws import draws, is_chain, is_stochastic, sample_outputs, stochastic_layers
from nsm.nn.layer import StochasticLayer
from nsm.nn.linear import Linear
from nsm.nn.memory import channels_last
from nsm.nn.residual import Residual

__all__ = [
    "FIDELITIES",
    "Binarize",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "Drawing",
    "Fidelity",
    "Linear",
    "Residual",
    "Sign",
    "StochasticLayer",
    "calibrate",
    "centered",
    "channels_last",
    "convert",
    "draws",
    "fidelity",
    "is_chain",
    "is_stochastic",
    "sample_outputs",
    "stochastic_layers",
]
