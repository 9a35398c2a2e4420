"""A first layer that is not learned: patches of images, decorrelated."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nsm.nn.checks import check_batch

# Added to variances, so that directions in which patches hardly differ are not blown up.
_LEAST = 5e-4


class Whitening(nn.Conv2d):
    """Every direction of the patches of an image on a scale of its own, once with either sign.

    Forward law, for the eigenvectors v_k of the covariance C of patches p and their eigenvalues l_k, the
    largest first::

        y_k = v_k.p / sqrt(l_k + 5e-4) + b_k,    y_(K+k) = -v_k.p / sqrt(l_k + 5e-4) + b_(K+k)

    for K = channels * size^2. The weights are set once (:func:`whiten`) and never learned; b is. Layers
    behind it, which rectify, need not learn the scales of natural images first (Page, "How to train your
    ResNet", part 8, 2019; Jordan, arXiv:2404.00498). Until it is set, C is the identity.

    Shape: (N, channels, H, W) to (N, 2 K, H - size + 1, W - size + 1).

    Args:
        channels: of the image.
        size: width of the square patches.
    """

    weight: Tensor

    def __init__(self, channels: int, size: int) -> None:
        features = channels * size**2
        super().__init__(channels, 2 * features, size)
        del self._parameters["weight"]
        self.register_buffer("weight", torch.empty(2 * features, channels, size, size))
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]
        self.set_covariance(torch.eye(features))

    @torch.no_grad()
    def set_covariance(self, covariance: Tensor) -> None:
        """Set the weights.

        Args:
            covariance: C, (K, K), symmetric; patches in the order of a kernel's weights.
        """
        variances, directions = torch.linalg.eigh(covariance.double())
        filters = (directions / (variances.clamp(min=0.0) + _LEAST).sqrt()).T.flip(0)
        # An eigenvector is one up to its sign, which the solver of each machine chooses.
        filters = filters * torch.where(filters.sum(1, keepdim=True) < 0, -1.0, 1.0)
        self.weight.copy_(torch.cat((filters, -filters)).view(self.weight.shape))


def whiten(net: nn.Sequential, images: Tensor) -> None:
    """Set the whitening layers of a network from the patches of images, in place; others have none.

    What stands before such a layer does what it does in training: a batch normalization normalizes by these
    images.

    Args:
        net: the network.
        images: (N, channels, height, width), some hundreds.

    Raises:
        ValueError: if ``images`` is empty, or holds infinity or NaN.
        TypeError: if ``images`` is no floating-point tensor.
    """
    check_batch(images, "images")
    with torch.no_grad():
        for place, module in enumerate(net):
            if isinstance(module, Whitening):
                seen = copy.deepcopy(net[:place]).train()(images)
                patches = F.unfold(seen, module.kernel_size).transpose(1, 2).flatten(0, 1)
                module.set_covariance(torch.cov(patches.double().T, correction=0))
