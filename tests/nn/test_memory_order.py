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


@pytest.mark.parametrize("population", [1, 3])
def test_a_grey_image_is_pooled_with_neurons_last_in_whatever_order_it_comes(population):
    x = torch.rand(3, 1, 10, 9)
    layer = nsm.nn.Conv2d(1, 4, 3, max_pool=2, population=population, standardized=population > 1)
    nsm.nn.calibrate(layer, x, seed=0)
    products, results = [], []
    layer.product.register_forward_hook(lambda _module, _inputs, output: products.append(output.stride()))
    for images in (x, nsm.nn.channels_last(x)):
        with nsm.nn.draws(layer, seed=1, samples=0, inputs=torch.arange(3)):
            z = layer(images)
        grad = torch.autograd.grad(z.square().sum() + z[:, 1].sum(), layer.parameters())
        results.append((z, *grad))
    assert all(strides[1] == 1 for strides in products)
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two)
        assert one.stride() == two.stride()
