import torch
from torch import nn

import nsm
from nsm.studies import practice


def test_digits_lie_in_images_as_large_as_those_of_mnist():
    x, target = practice.digits(2000)
    assert x.shape == (2000, *practice.IMAGE)
    assert 0.0 <= x.min() < x.max() <= 1.0
    assert not x[..., :4, :].any()
    assert 0.2 < (x > 0.0).float().mean() < 0.5
    images = len(nsm.data.load("digits").train)
    assert torch.equal(x[images:], x[: 2000 - images])
    assert torch.equal(target[images:], target[: 2000 - images])


def test_a_network_that_practised_knows_digits_and_is_surer():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nsm.nn.Linear(784, 60), nn.Linear(60, 10))
    x, target = practice.digits(300)

    def found():
        fired = torch.stack([net[1](net[0](x)) > 0.0 for _ in range(20)]).float().mean(0)
        wrong = (nsm.predict(net, x, samples=20, seed=0).probabilities.argmax(1) != target).float().mean()
        return wrong, torch.minimum(fired, 1.0 - fired).mean()

    wrong, unsure = found()
    practice.practise(net)
    after, less = found()
    assert wrong > 0.7
    assert after < 0.1
    assert less < 0.8 * unsure
