"""The bound on memory: what is counted, and that no pass exceeds it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import nsm
from nsm.inference import passes
from nsm.inference.passes import MIB, LiveBytes, PassSize
from tests.inference.nets import Residual


def test_live_bytes_by_hand() -> None:
    x, weight = torch.zeros(100), torch.ones(50)
    with LiveBytes(x) as memory:
        kept = x + 1.0  # 400 bytes that grow
        double = kept.double()  # 800 more
        view = double.view(10, 10).t()  # none
        del double, view
        squared = weight.square()  # 200 that do not
        kept.mul_(2.0)
        more = torch.zeros(10)  # 40 from nothing: taken to grow
        both = squared[:1] + more  # 40
        del kept, both
    assert memory.growing == 1200
    assert memory.fixed == 200
    assert torch.equal(squared, weight)


def test_live_bytes_of_operators_on_lists_of_tensors() -> None:
    x = torch.zeros(10)
    with LiveBytes(x) as memory:
        parts = torch.stack([x, x]).split(1)
        torch.cat(parts)
    assert memory.growing == 160


def test_sizes_fill_the_bound_and_no_more() -> None:
    size = PassSize(1000, 8, torch.device("cpu"))

    def forward(x: Tensor, _inputs: Tensor, indices: Tensor) -> Tensor:
        shared = x.repeat(1, 10)  # 40 bytes of each input while it is alone
        del shared
        return x.expand(-1, len(indices)) + x  # 4 bytes of each sample

    size.run(forward, torch.zeros(2, 1), torch.arange(2), torch.arange(2))
    assert (size.inputs, size.samples) == (1000 // 20 // 8, 8)
    size.run(forward, torch.zeros(6, 1), torch.arange(6), torch.arange(8))
    assert (size.inputs, size.samples) == (1000 // 5 // 8, 8)


def test_a_bound_too_small_takes_one_sample_of_one_input() -> None:
    size = PassSize(1, 8, torch.device("cpu"))
    for rows in (2, 1, 1):
        indices = torch.arange(rows)
        size.run(lambda x, _inputs, _indices: x + 1.0, torch.zeros(rows, 1), indices, indices)
        assert (size.inputs, size.samples) == (1, 1)


def wide(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nsm.nn.Linear(64, 400, **options), nsm.nn.Linear(400, 100), nn.Linear(100, 5))


def skip(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(Residual(64), nsm.nn.Linear(64, 300, **options), nn.Linear(300, 5))


def twin() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 400), nn.ReLU(), nn.Linear(400, 5))


def image_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nsm.nn.Conv2d(1, 16, 3),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nsm.nn.Linear(144, 32, binary_input=True),
        nn.Linear(32, 5),
    )


def peaks_and_rows(
    monkeypatch: pytest.MonkeyPatch, net: nn.Module, batch: int, samples: int, memory_mib: float
) -> tuple[list[int], list[int]]:
    """Bytes of every pass, and rows of the last layer in every pass."""
    peaks: list[int] = []
    run = PassSize.run

    def measured(self: PassSize, forward: Callable[..., Any], *arguments: Tensor) -> Any:
        with LiveBytes(*arguments) as memory:
            result = run(self, forward, *arguments)
        peaks.append(memory.growing + memory.fixed)
        return result

    rows: list[int] = []
    handle = list(net.modules())[-1].register_forward_hook(lambda _m, _i, output: rows.append(len(output)))
    with monkeypatch.context() as patch:
        patch.setattr(passes.PassSize, "run", measured)
        nsm.predict(net, torch.rand(batch, 64), samples=samples, memory_mib=memory_mib)
    handle.remove()
    return peaks, rows


@pytest.mark.parametrize("make", [wide, skip, twin, image_net])
def test_neither_batch_nor_samples_take_a_pass_beyond_the_bound(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], nn.Module]
) -> None:
    net = make()
    for few, many in (((100, 30), (300, 30)), ((2, 1000), (2, 3000)), ((700, 2), (1500, 2))):
        largest = []
        for batch, samples in (few, many):
            peaks, rows = peaks_and_rows(monkeypatch, net, batch, samples, 1.0)
            assert sum(rows[1:]) == batch * (1 if make is twin else samples)
            assert max(peaks) <= MIB
            largest.append(max(rows))
        if make is not twin or batch > 700:
            # Large enough to be worth it, too.
            assert max(peaks) > MIB // 2
            assert largest[0] == largest[1]


def test_a_larger_bound_means_fewer_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [len(peaks_and_rows(monkeypatch, wide(), 80, 50, memory)[1]) for memory in (0.5, 2.0, 8.0)]
    assert counts[0] > 3 * counts[1] > 6 * counts[2]


def test_every_fidelity_keeps_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    net = nn.Sequential(nsm.nn.Linear(64, 20, fidelity="synapse"), nn.Linear(20, 5))
    peaks, rows = peaks_and_rows(monkeypatch, net, 20, 2000, 4.0)
    assert len(rows) > 3
    assert max(peaks) <= 4 * MIB


def test_parts_of_a_network_evaluate_and_learn_on_their_own() -> None:
    part = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    net = nn.Sequential(part, nn.Linear(2, 2))
    net[1].eval()
    before = {module: module.training for module in net.modules()}
    for first, second in ((net, part), (part, net)):
        outer, inner = passes.evaluation_mode(first), passes.evaluation_mode(second)
        # As two threads would, neither of which waits for the other.
        outer.__enter__()
        inner.__enter__()
        assert not any(module.training for module in net.modules())
        outer.__exit__(None, None, None)
        assert not any(module.training for module in second.modules())
        inner.__exit__(None, None, None)
        assert {module: module.training for module in net.modules()} == before


def test_the_first_product_is_computed_once_for_an_input() -> None:
    net = wide()
    rows: list[int] = []
    net[0].product.register_forward_hook(lambda _module, _inputs, output: rows.append(len(output)))
    nsm.predict(net, torch.rand(50, 64), samples=20)
    assert sum(rows) == 52  # two inputs tell how much memory a pass needs
