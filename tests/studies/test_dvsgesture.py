from pathlib import Path

import pytest
import torch

from nsm.data import events as ev
from nsm.models import build
from nsm.studies import dvsgesture, results
from nsm.studies.gesture_picture import draw, examples
from nsm.studies.tables import render
from tests.data.events.recordings import lay_out_gestures


def test_kinds_learn_the_same_windows_in_networks_of_one_shape() -> None:
    def products(kind: str) -> list[tuple[int, ...]]:
        network = dvsgesture.configuration(kind, name="dvsgesture", seed=0).network
        net = build(network.name, model=network.model, noise=network.noise)
        return [tuple(parameter.shape) for parameter in net.parameters() if parameter.dim() > 1]

    jobs = dvsgesture.jobs(Path("runs"), name="dvsgesture-simulated", seeds=2, epochs=3)
    assert len({job.folder for job in jobs}) == len(jobs) == 2 * len(dvsgesture.KINDS)
    assert {job.config.data.set for job in jobs} == {"dvsgesture-simulated"}
    assert all(job.config.data.validation == 0 and job.config.training.epochs == 3 for job in jobs)
    same = {
        (job.config.training.lr, job.config.training.batch_size, job.config.training.precision)
        for job in jobs
    }
    assert len(same) == 1
    assert products("bnsm") == products("gnsm") == products("twin")


def test_recordings_are_learnt_where_they_are(tmp_path: Path) -> None:
    assert dvsgesture.chosen_set(None, tmp_path) == "dvsgesture-simulated"
    lay_out_gestures(tmp_path)
    assert dvsgesture.chosen_set(None, tmp_path) == "dvsgesture"
    assert dvsgesture.chosen_set("dvsgesture-simulated", tmp_path) == "dvsgesture-simulated"
    with pytest.raises(ValueError, match=r"set must be one of dvsgesture, .*, got 'mnist'"):
        dvsgesture.chosen_set("mnist", tmp_path)
    with pytest.raises(ValueError, match="kind must be one of bnsm, gnsm, twin, got 'bd'"):
        dvsgesture.configuration("bd", name="dvsgesture", seed=0)


def test_windows_of_a_gesture_vote() -> None:
    def sure(*classes: int) -> list[list[float]]:
        return [[0.8 if place == named else 0.1 for place in range(3)] for named in classes]

    # Gesture 3: all right. Gesture 5: two of three wrong. Gesture 9: a tie, which the surer window decides.
    probabilities = torch.tensor([*sure(0, 0, 1), *sure(1, 2, 2), [0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    recordings = torch.tensor([3, 3, 3, 5, 5, 5, 9, 9])
    targets = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])
    third = pytest.approx(100 / 3)
    assert dvsgesture.gesture_votes(probabilities, targets, recordings) == (3, third, third)
    # One window that is very sure outweighs two that are not, in the mean alone.
    probabilities = torch.tensor([[0.0, 1.0], [0.51, 0.49], [0.51, 0.49]])
    votes = dvsgesture.gesture_votes(probabilities, torch.tensor([0, 0, 0]), torch.tensor([7, 7, 7]))
    assert votes == (1, 100.0, 0.0)


def test_the_table_tells_windows_and_gestures(tmp_path: Path) -> None:
    def row(model: str, seed: int, error: float) -> dict[str, object]:
        return {
            "set": "dvsgesture-simulated",
            "model": model,
            "epochs": 2,
            "train_windows": 9108,
            "samples": 10,
            "seed": seed,
            "error_percent": error,
            "gesture_error_percent": error / 2,
            "majority_error_percent": error / 4,
        }

    rows = [row("twin", 0, 12.0), row("bnsm", 0, 8.0), row("bnsm", 1, 10.0)]
    table = dvsgesture.table(rows)
    assert [line["model"] for line in table] == ["bnsm", "twin"]
    assert (table[0]["mean"], table[0]["gesture_mean"], table[0]["count"]) == (9.0, 4.5, 2)
    results.write(tmp_path / "dvsgesture.json", dvsgesture.STUDY, rows)
    text = render("dvsgesture", tmp_path)
    assert (
        "| DVS Gestures (simulated) | NSM, Bernoulli noise | 2 | 9,108 | 10 | 9.00 | 4.50 | 2.25 | 2 | 8.56 |"
        in text
    )


def test_gestures_are_drawn_for_different_users(tmp_path: Path) -> None:
    lay_out_gestures(tmp_path)
    recordings = ev.dvs_gesture("train", tmp_path)
    shown = examples(recordings)
    assert len(shown) == 2 * 11
    assert shown[0].title == "hand clapping\nuser 1, fluorescent"
    assert shown[1].title == "hand clapping\nuser 23, led"
    assert draw(shown).startswith(b"\x89PNG")
