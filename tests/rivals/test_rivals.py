"""Rivals against closed forms, behind the same prediction."""

import pytest
import scipy.stats
import torch
from torch import nn

import nsm
from nsm.rivals import Ensemble, LaplaceHead, SampledDropout, last_layer_laplace, mc_dropout
from tests.statistical.budget import assert_frequencies


def twin(model="twin", seed=0):
    torch.manual_seed(seed)
    return nsm.models.build("digits-mlp", model=model)


X = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_dropout_leaves_out_units_at_its_rate(p):
    layer, x = SampledDropout(p), torch.full((3, 2, 5), 2.0)
    with nsm.nn.draws(
        layer, seed=3, samples=torch.arange(4000).repeat(3), inputs=torch.arange(3).repeat_interleave(4000)
    ):
        out = layer(x)
    assert out.shape == (12_000, 2, 5)
    kept = out != 0
    torch.testing.assert_close(out[kept], torch.full_like(out[kept], 2.0 / (1.0 - p)))
    counts = kept.view(3, 4000, 10).sum(1)
    assert_frequencies(counts, 4000, torch.full((3, 10), 1.0 - p, dtype=torch.float64), slack=2.0**-22)


def test_mc_dropout_is_a_loop_over_passes_with_dropout():
    net = twin("twin-dropout")
    sampled = mc_dropout(net)
    got = nsm.predict(sampled, X, samples=400, votes=True)
    assert (got.votes[:, 0] - got.votes[:, 1]).abs().max() > 1e-3
    part = nsm.predict(sampled, X[2:4], samples=400, votes=True, inputs=torch.tensor([2, 3]))
    torch.testing.assert_close(part.votes, got.votes[2:4])
    # torch's own dropout has the same law.
    torch.manual_seed(0)
    net.train()
    with torch.no_grad():
        theirs = net(X.repeat_interleave(400, 0)).softmax(-1).view(6, 400, 10)
    for mine, other in zip(got.votes[:, :, 0], theirs[:, :, 0], strict=True):
        assert scipy.stats.ks_2samp(mine, other).pvalue > 1e-4
    assert any(isinstance(module, nn.Dropout) for module in net.modules())
    settled = nsm.predict(sampled, X, confidence=0.9, max_samples=50)
    assert settled.samples_used.max() <= 50


def test_members_are_samples():
    members = [twin(seed=seed) for seed in range(3)]
    got = nsm.predict(Ensemble(members), X, samples=3, votes=True)
    alone = torch.stack([nsm.predict(member, X).probabilities for member in members], 1)
    torch.testing.assert_close(got.votes, alone)
    torch.testing.assert_close(got.probabilities, alone.mean(1))
    assert got.mutual_information.min() > 0
    small = nsm.predict(Ensemble(members), X, samples=3, votes=True, memory_mib=1e-6)
    torch.testing.assert_close(small.votes, alone)
    with torch.no_grad():
        torch.testing.assert_close(Ensemble(members)(X).softmax(-1), alone[:, 0])
    with pytest.raises(ValueError, match="samples must be at most 3, the number of members"):
        nsm.predict(Ensemble(members), X, samples=4)
    with pytest.raises(ValueError, match="at least one network"):
        Ensemble([])


@pytest.mark.parametrize("bias", [True, False])
def test_laplace_of_one_input_is_exact(bias):
    """One input's curvature is a Kronecker product: compare with the whole Hessian, inverted."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3, bias=bias)).double()
    x, precision = torch.randn(1, 3, dtype=torch.float64), 0.7
    sampled = last_layer_laplace(net, x, precision=precision)
    new = torch.randn(5, 3, dtype=torch.float64)

    with torch.no_grad():
        old = net[:-1](x)
    last = [parameter.detach() for parameter in net[-1].parameters()]
    flat = torch.cat([parameter.flatten() for parameter in last])

    def logits(weights, features):
        weight = weights[:12].view(3, 4)
        return features @ weight.T + (weights[12:] if bias else 0.0)

    def loss(weights):
        # At the learned weights the Hessian of the cross-entropy of a linear model is its curvature.
        return -logits(weights, old).log_softmax(-1)[0, 0] + 0.5 * precision * weights.square().sum()

    covariance = torch.linalg.inv(torch.autograd.functional.hessian(loss, flat))
    with torch.no_grad():
        features = net[:-1](new)
    for one in features:
        jacobian = torch.autograd.functional.jacobian(lambda w, f=one: logits(w, f[None])[0], flat)
        exact = jacobian @ covariance @ jacobian.T
        head = sampled[-1]
        vectors = head.get_buffer("outputs_vectors")
        mine = vectors @ torch.diag(head.spread(one[None])[0]) @ vectors.T
        torch.testing.assert_close(mine, exact)


def test_laplace_draws_with_its_mean_and_spread():
    net = twin()
    sampled = last_layer_laplace(net, torch.rand(200, 1, 8, 8), precision=1.0)
    with torch.no_grad():
        drawn = nsm.nn.sample_outputs(sampled, X, seed=0, samples=torch.arange(4000), inputs=torch.arange(6))
        mean, features = net(X), nn.Sequential(*list(net)[:-1])(X)
        head = sampled[-1]
        vectors = head.get_buffer("outputs_vectors").float()
        turned = (drawn - mean[:, None]) @ vectors / head.spread(features).sqrt()[:, None].float()
    assert scipy.stats.kstest(turned.flatten().numpy()[::7], "norm").pvalue > 1e-4
    assert nsm.predict(sampled, X, samples=30).mutual_information.min() > 0


def test_laplace_works_in_other_precisions():
    sampled = last_layer_laplace(twin(), torch.rand(50, 1, 8, 8), precision=1.0)
    before = nsm.predict(sampled, X, samples=20).probabilities
    torch.testing.assert_close(nsm.predict(sampled.float(), X, samples=20).probabilities, before)
    half = nsm.predict(sampled.half(), X.half(), samples=20).probabilities
    torch.testing.assert_close(half, before, atol=5e-3, rtol=0)


def test_a_stronger_prior_means_a_smaller_spread():
    x = torch.rand(50, 1, 8, 8)
    spreads = [
        nsm.predict(
            last_layer_laplace(twin(), x, precision=precision), X, samples=200
        ).mutual_information.sum()
        for precision in (0.1, 10.0)
    ]
    assert spreads[0] > spreads[1]


def test_networks_of_another_form_are_refused():
    with pytest.raises(ValueError, match=r"ends in nn\.Linear"):
        last_layer_laplace(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), torch.ones(1, 3), precision=1.0)
    with pytest.raises(ValueError, match="draws nothing"):
        last_layer_laplace(nsm.models.build("digits-mlp"), X, precision=1.0)
    with pytest.raises(ValueError, match=r"ends in nn\.Linear"):
        last_layer_laplace(nn.Linear(3, 3), torch.ones(1, 3), precision=1.0)
    with pytest.raises(ValueError, match=r"x must have shape \(B, ...\) with B >= 1, got \(0, 3\)"):
        last_layer_laplace(nn.Sequential(nn.Linear(3, 3)), torch.ones(0, 3), precision=1.0)
    with pytest.raises(TypeError, match=r"x must be torch\.float32, as this network is, got torch\.float64"):
        last_layer_laplace(twin(), X.double(), precision=1.0)
    with pytest.raises(ValueError, match=r"members\[1\] draws, but members must draw nothing"):
        Ensemble([twin(), nsm.models.build("digits-mlp")])
    with pytest.raises(ValueError, match="precision must be positive and finite, got 0"):
        LaplaceHead(nn.Linear(2, 2), torch.eye(3), torch.eye(2), 0)
    with pytest.raises(TypeError, match="precision must be a number, got str"):
        last_layer_laplace(twin(), X, precision="a")
    with pytest.raises(ValueError, match=r"net must have nn\.Dropout layers"):
        mc_dropout(twin())
    for p in (0.0, 1.0):
        with pytest.raises(ValueError, match=r"p must be in \(0, 1\)"):
            SampledDropout(p)


def test_no_inputs_give_no_outputs():
    members, x = [twin(), twin()], X[:0]
    laplace = last_layer_laplace(twin(), X, precision=1.0)
    for net in (Ensemble(members), laplace, mc_dropout(twin("twin-dropout")), twin("sn")):
        assert net(x).shape == (0, 10)
        none = torch.arange(0)
        sampled = nsm.nn.sample_outputs(net, x, seed=0, samples=torch.arange(2), inputs=none)
        assert sampled.shape == (0, 2, 10)


def test_dropout_that_stands_in_two_places_is_on_in_both():
    shared = nn.Dropout(0.5)
    net = nn.Sequential(nn.Linear(4, 8), shared, nn.ReLU(), nn.Linear(8, 8), shared, nn.Linear(8, 2))
    sampled = mc_dropout(net)
    assert [type(sampled[place]) for place in (1, 4)] == [SampledDropout, SampledDropout]
    with pytest.raises(ValueError, match=r"net must have no dropout but nn\.Dropout, got Dropout2d at 1"):
        mc_dropout(nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.5)))


def test_an_ensemble_is_asked_for_a_confidence():
    answer = nsm.predict(Ensemble([twin(seed=seed) for seed in range(3)]), X, confidence=0.999)
    assert answer.samples_used.max() <= 3
    assert set(answer.reasons.tolist()) <= {nsm.Reason.SETTLED, nsm.Reason.LIMIT, nsm.Reason.FUTILE}
    loud = [nn.Linear(2, 2) for _ in range(40)]
    for seed, member in enumerate(loud):
        nn.init.constant_(member.weight, 0.0)
        member.bias.data = torch.tensor([0.3, 0.0]) + torch.randn(
            2, generator=torch.Generator().manual_seed(seed)
        )
    used = nsm.predict(Ensemble(loud), torch.zeros(1, 2), confidence=0.6)
    assert 1 <= used.samples_used.max() <= 40
