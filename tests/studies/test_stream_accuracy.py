"""The study of how soon a stream is understood."""

import json

import pytest
import torch

import nsm
from nsm import random, training
from nsm.data import DataError
from nsm.data import events as ev
from nsm.streams import StreamPredictor
from nsm.studies import results, stream_accuracy
from nsm.studies.tables import render
from tests.data.events.recordings import lay_out_nmnist

FRAMES = ev.TimeFrames(sensor_size=(34, 34, 2), bins=2, width=20_000, polarity="merged", binary=True)


class Halves(torch.nn.Module):
    """Class 1 where the right half saw more, else 0; draws nothing."""

    def forward(self, x):
        halves = x.sum((1, 2)).view(-1, 2, 17).sum(2)
        return 100.0 * (halves - halves.mean(1, keepdim=True))


def recording(path, sides):
    """An event every millisecond, on one side or the other in each 10 ms."""
    t = range(0, 10_000 * len(sides), 1000)
    ev.write_nmnist(
        path, ev.make([4 + 20 * sides[i // 10] for i in range(len(t))], [3] * len(t), t, [1] * len(t))
    )


def test_each_time_is_scored_over_the_recordings_that_reach_it(tmp_path):
    folder = tmp_path / "NMNIST" / "Test"
    for digit, name, sides in ((0, "1", [0, 0, 0, 0]), (1, "2", [0, 1, 1, 1]), (1, "3", [1, 1])):
        (folder / str(digit)).mkdir(parents=True, exist_ok=True)
        recording(folder / str(digit) / f"{name}.bin", sides)
    recordings = ev.nmnist("test", tmp_path)
    rows = stream_accuracy.summary(Halves(), FRAMES, recordings, confidence=0.9, max_samples=5, seed=0)
    assert [row["ms"] for row in rows] == [10.0, 20.0, 30.0, 40.0]
    assert [row["n"] for row in rows] == [3, 3, 2, 2]
    # The second recording is a tie after 20 ms.
    assert [row["accuracy_percent"] for row in rows if row["ms"] != 20.0] == pytest.approx(
        [200 / 3, 100, 100]
    )
    assert all(row["samples"] == 1.0 for row in rows)


def test_decisions_are_those_of_a_predictor(nsm_run, tmp_path):
    lay_out_nmnist(tmp_path, per_digit=(0, 1))
    recordings = ev.nmnist("test", tmp_path)[:2]
    net, options = nsm.load(nsm_run), {"confidence": 0.5, "max_samples": 3}
    frames = ev.TimeFrames(sensor_size=(34, 34, 2), bins=10, width=10_000, polarity="merged", binary=True)
    rows = stream_accuracy.summary(net, frames, recordings, seed=4, **options)
    used = {}
    for number, (events, _) in enumerate(recordings):
        predictor = StreamPredictor(net, frames, seed=random.derive(4, "recording", number), **options)
        for decision in predictor.decisions([events]):
            used.setdefault(decision.number, []).append(int(decision.prediction.samples_used))
    assert [row["n"] for row in rows] == [len(each) for each in used.values()]
    assert [row["samples"] * row["n"] for row in rows] == pytest.approx([sum(each) for each in used.values()])


def test_a_compiled_network_decides_on_some_recordings(nsm_run, tmp_path):
    lay_out_nmnist(tmp_path, per_digit=(0, 3))
    options = {"confidence": 0.5, "max_samples": 4, "recordings": 7, "root": tmp_path}
    done = []
    rows = stream_accuracy.run(
        nsm_run, compiled=True, progress=lambda *progress: done.append(progress), **options
    )
    assert done == [(number, 7) for number in range(1, 8)]
    assert rows[0]["n"] == 7
    assert all(row["compiled"] for row in rows)
    found = stream_accuracy._some(ev.nmnist("test", tmp_path), 7)
    # Every class once in turn, as far as seven reach.
    assert found.targets.tolist() == [0, 1, 2, 4, 5, 7, 8]
    assert len(stream_accuracy._some(found, 100)) == 7


def test_a_run_is_scored_told_and_drawn(nsm_run, tmp_path):
    lay_out_nmnist(tmp_path, per_digit=(0, 1))
    done = []
    rows = stream_accuracy.run(
        nsm_run, confidence=0.5, max_samples=2, root=tmp_path, progress=lambda *at: done.append(at)
    )
    assert done[-1] == (10, 10)
    assert rows[0]["ms"] == 10.0
    assert all(row["trained_on"] == "nmnist" and 1.0 <= row["samples"] <= 2.0 for row in rows)
    results.write(tmp_path / "stream-accuracy.json", stream_accuracy.STUDY, rows)
    assert render("stream-accuracy", tmp_path).splitlines()[2].startswith("| 10 |")
    assert stream_accuracy.draw(rows).startswith(b"\x89PNG")
    with pytest.raises(DataError, match="holds no recording"):
        stream_accuracy.run(nsm_run, root=tmp_path / "nothing")


@pytest.fixture(scope="module")
def nsm_run(tmp_path_factory):
    run = tmp_path_factory.mktemp("accuracy") / "run"
    run.mkdir()
    (run / "config.json").write_text(json.dumps({"recipe": training.load_recipe("nmnist-cnn").to_dict()}))
    nsm.save(nsm.models.build("nmnist-cnn"), run)
    return run
