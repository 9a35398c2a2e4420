"""The published networks, each beside its conventional twin, and how they are saved."""

from nsm.models.blocks import MODELS, Model
from nsm.models.build import Network, build, from_config
from nsm.models.files import ModelFileError, load, save
from nsm.models.following import can_follow, follow
from nsm.models.networks import ARCHITECTURES, Architecture, Convolution
from nsm.models.whitening import Whitening, whiten

__all__ = [
    "ARCHITECTURES",
    "MODELS",
    "Architecture",
    "Convolution",
    "Model",
    "ModelFileError",
    "Network",
    "Whitening",
    "build",
    "can_follow",
    "follow",
    "from_config",
    "load",
    "save",
    "whiten",
]
