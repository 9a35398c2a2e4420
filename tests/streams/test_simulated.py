"""Streams to try a network on."""

from __future__ import annotations

import numpy as np
import pytest

from nsm.data.simulated import gestures
from nsm.streams import simulated as module
from nsm.streams.simulated import simulated


def test_a_test_user_makes_gestures_that_no_set_holds(monkeypatch):
    asked = []

    def recorded(user, lighting, *, seed):
        asked.append((user, lighting, seed))
        return gestures.Simulated(np.zeros(3), [])

    monkeypatch.setattr(module, "simulate_gestures", recorded)
    for name in ("dvsgesture", "dvsgesture-precut", "dvsgesture-simulated"):
        for seed in range(40):
            (events,) = simulated(name, seed=seed)
            assert len(events) == 3
    once, *others = (asked[part : part + 40] for part in (0, 40, 80))
    assert others == [once, once]
    assert {user for user, _, _ in once} == set(range(24, 30))
    assert {light for _, light, _ in once} == set(gestures.LIGHTINGS)
    # The sets are simulated by small seeds.
    assert min(seed for _, _, seed in once) > 2**32


def test_digits_come_one_after_another_and_depend_on_the_seed(data_folder):
    parts = list(simulated("nmnist", seed=1, root=data_folder))
    assert len(parts) == 10
    times = np.concatenate([events["t"] for events in parts])
    gaps = np.diff(np.unique(times))
    assert (gaps > 200_000).sum() == 9
    again, other = (next(simulated("nmnist-simulated", seed=seed, root=data_folder)) for seed in (1, 2))
    assert np.array_equal(parts[0], again)
    assert not np.array_equal(parts[0], other)


def test_other_sets_have_no_simulated_stream():
    with pytest.raises(ValueError, match=r"simulated for nmnist, .*dvsgesture-simulated, not for mnist"):
        simulated("mnist", seed=0)
