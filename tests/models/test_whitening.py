"""Patches of images, decorrelated by a layer that is set once."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nsm.models import Whitening, build, whiten


def textures(count=200):
    """Images whose channels and neighbours are correlated, on scales of their own."""
    generator = torch.Generator().manual_seed(0)
    rough = torch.rand(count, 3, 12, 12, generator=generator)
    smooth = F.avg_pool2d(rough, 3, stride=1)
    return torch.stack((smooth[:, 0], smooth[:, 0] + 0.1 * smooth[:, 1], 5.0 * smooth[:, 2]), 1)


def covariance(x):
    return torch.cov(x.transpose(0, 1).flatten(1).double(), correction=0)


def test_directions_of_patches_are_uncorrelated_and_of_one_scale():
    images = textures()
    net = nn.Sequential(Whitening(3, 2))
    whiten(net, images)
    found = covariance(net(images)[:, :12])
    variances, _ = torch.linalg.eigh(covariance(F.unfold(images, 2)))
    expected = (variances / (variances + 5e-4)).flip(0)
    torch.testing.assert_close(found, torch.diag(expected), atol=1e-5, rtol=0)


def test_every_direction_is_there_with_either_sign():
    layer = Whitening(3, 2)
    assert torch.equal(layer.weight[:12], -layer.weight[12:])
    torch.testing.assert_close(layer.weight[:12].flatten(1).sum(1), torch.ones(12) / (1 + 5e-4) ** 0.5)


def test_what_stands_before_normalizes_by_the_images_and_is_left_alone():
    images = textures()
    net = nn.Sequential(nn.BatchNorm2d(3), Whitening(3, 2)).eval()
    whiten(net, images)
    assert torch.equal(net[0].running_mean, torch.zeros(3))
    found = covariance(net.train()(images)[:, :12])
    off = found - torch.diag(found.diagonal())
    assert off.abs().max() < 1e-5


def test_its_bias_learns_and_its_weight_does_not():
    net = nn.Sequential(Whitening(3, 2))
    assert [name for name, _ in net.named_parameters()] == ["0.bias"]
    assert set(net.state_dict()) == {"0.bias", "0.weight"}


def test_the_residual_network_whitens_and_others_are_left_alone():
    images = torch.rand(20, 3, 32, 32)
    net = build("cifar10-residual")
    before = net[1].weight.clone()
    whiten(net, images)
    assert not torch.equal(net[1].weight, before)
    plain = build("cifar10-allconv-third")
    state = {name: value.clone() for name, value in plain.state_dict().items()}
    whiten(plain, images)
    assert all(torch.equal(value, state[name]) for name, value in plain.state_dict().items())


def test_images_that_say_nothing_of_a_direction_leave_it_finite():
    net = nn.Sequential(Whitening(3, 2))
    whiten(net, torch.ones(4, 3, 8, 8))
    assert net[0].weight.isfinite().all()


def test_images_that_are_none_are_refused():
    with pytest.raises(ValueError, match="images must be finite"):
        whiten(nn.Sequential(Whitening(3, 2)), torch.full((2, 3, 8, 8), torch.nan))
