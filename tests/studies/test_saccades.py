"""The study of simulated saccades."""

from dataclasses import replace

import numpy as np
import pytest

from nsm import data
from nsm.data import events as ev
from nsm.data.simulated import NMNIST_LIKE, simulate
from nsm.studies import saccades
from nsm.studies.saccades_fit import fit_path, statistics
from nsm.studies.tables import render
from tests.data.simulated.test_saccades import images


def test_statistics_of_a_few_events():
    one = ev.make([1, 1, 2], [0, 0, 0], [10, 30, 150_000], [True, False, True])
    two = ev.make([5], [5], [250_000], [False])
    found = statistics([one, two])
    assert found.events.tolist() == [3, 1]
    assert found.saccades.tolist() == [1.0, 0.5, 0.5]
    assert found.on.tolist() == [0.5, 1.0, 0.0]
    assert found.gaps.tolist() == [20]
    assert found.per_pixel.sum() == 4
    assert found.per_time[[0, 30, 50]].tolist() == [1.0, 0.5, 0.5]
    assert found.numbers()["events, mean"] == 2.0


def test_the_path_is_found_again_from_the_events():
    pixels = images(40)
    recorded = list(simulate(pixels, seed=0))
    found = np.array(fit_path(pixels, recorded))
    path = np.array(NMNIST_LIKE.path)
    assert len(found) == len(path)
    assert np.abs(found - path).mean() < 0.7
    assert np.corrcoef(found.ravel(), path.ravel())[0, 1] > 0.97


def test_the_comparison_is_drawn_and_told(tmp_path):
    pixels = images(6)
    pairs = saccades.Pairs(pixels, list(simulate(pixels, seed=1)))
    other = replace(NMNIST_LIKE, on=0.3)
    found = saccades.Comparison(pairs, list(simulate(pixels, seed=0, saccades=other)), other, 0)
    assert saccades.draw(found).startswith(b"\x89PNG")
    *rows, parameters = saccades.rows(found)
    assert parameters["on"] == 0.3
    assert all(row["recorded"] >= 0 and row["simulated"] >= 0 for row in rows)
    from nsm.studies import results

    results.write(tmp_path / "saccades.json", saccades.STUDY, saccades.rows(found))
    assert render("saccades", tmp_path).count("\n") == 2 + len(rows)


@pytest.mark.data
def test_recordings_and_images_belong_together(data_folder):
    if not (data.is_present("nmnist", data_folder) and data.is_present("mnist", data_folder)):
        pytest.skip(f"{data_folder} does not hold NMNIST and MNIST")
    found = saccades.pairs(data_folder)
    assert len(found.images) == len(found.recorded) >= 800
    some = slice(0, len(found.recorded), 80)
    recorded = statistics(found.recorded[some]).numbers()
    simulated = statistics(list(simulate(found.images[some], seed=0))).numbers()
    for name in ("events, mean", "events in saccade 1", "events in saccade 2", "events in saccade 3"):
        assert 0.75 < simulated[name] / recorded[name] < 1.33
