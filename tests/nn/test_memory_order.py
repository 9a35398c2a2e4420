"""Images of one channel, whose strides alone say in which order they are."""

import pytest
import torch

import nsm


@pytest.mark.parametrize("order", ["channels last", "channels first"])
def test_what_a_layer_weighs_lies_in_memory_as_its_product_does(order):
    x = torch.rand(3, 1, 9, 8)
    layer = nsm.nn.Conv2d(1, 4, 3)
    if order == "channels last":
        x, layer = nsm.nn.channels_last(x), layer.to(memory_format=torch.channels_last)
    product = layer.flat_product(x)
    assert product.stride() == ((168, 4, 1) if order == "channels last" else (168, 1, 42))
    assert layer.power_of(x).stride() == product.stride()
