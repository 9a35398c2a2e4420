"""The grid of learning rates and batch sizes, on the bundled digits."""

import pytest

from nsm.studies import convergence
from nsm.studies.convergence import Cell, Size, cells, configuration, first_below, rows
from nsm.studies.convergence_report import draw, report, table
from nsm.training import load_splits
from tests.report.html import Page, assert_self_contained

SMALL = Size((1e-3, 3e-3), {100: 2.0, 1: 0.05}, validation=300, samples=2, first=50, doubling=1)


@pytest.fixture(autouse=True)
def _digits(monkeypatch):
    monkeypatch.setattr(convergence, "NETWORK", "digits")


def test_every_kind_learns_alike_but_for_its_neurons():
    described = {}
    for cell in cells(Size()):
        config = configuration(cell, Size())
        training = config.training
        assert (training.schedule, training.averaging, training.lr) == ("constant", None, cell.rate)
        assert training.batch_size == cell.batch
        described.setdefault((cell.rate, cell.batch), []).append((config.data, config.augmentation, training))
    assert len(described) == 16
    assert all(len(same) == 3 and same[0] == same[1] == same[2] for same in described.values())


def test_where_a_run_is_judged():
    assert convergence._looks(SMALL, 1000) == [50, 100, 200, 400, 800, 1000]
    assert convergence._looks(SMALL, 40) == [40]
    assert first_below([(0.5, 3.0), (1.0, 2.0), (1.5, 2.5)], 2.0) == 1.0
    assert first_below([(0.5, 3.0)], 1.0) is None


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("convergence")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convergence, "NETWORK", "digits")
        return folder, list(rows(folder, SMALL))


def test_the_grid(found):
    _, measured = found
    assert [Cell(row["model"], row["lr"], row["batch_size"]) for row in measured] == cells(SMALL)
    for row in measured:
        epochs = [place for place, _ in row["curve"]]
        if row["model"] == "twin-bn" and row["batch_size"] == 1:
            assert (row["end"], row["best_error_percent"], row["curve"]) == ("impossible", None, [])
            continue
        assert epochs == sorted(set(epochs))
        assert epochs[-1] <= row["cap_epochs"]
        assert row["best_error_percent"] == min(error for _, error in row["curve"])
        assert row["end"] in ("cap", "given up", "reached")
        if row["end"] == "cap":
            assert epochs[-1] == row["cap_epochs"]
    assert any(row["end"] == "given up" for row in measured)


def test_what_is_known_is_not_learnt_again(found, monkeypatch):
    folder, measured = found
    with monkeypatch.context() as patch:
        patch.setattr(convergence, "run", None)
        assert list(rows(folder, SMALL)) == [
            {**row, "curve": [list(point) for point in row["curve"]]} for row in measured
        ]
    asked = []
    monkeypatch.setattr(convergence, "run", lambda cell, *_: asked.append(cell) or {})
    list(rows(folder, SMALL._replace(samples=3)))
    assert asked == cells(SMALL)


def test_a_run_ends_below_the_smallest_threshold_or_at_infinity(monkeypatch):
    size = SMALL._replace(caps={100: 1.0})
    cell = Cell("twin", 3e-3, 100)
    config = configuration(cell, size)
    splits = load_splits(config)
    monkeypatch.setattr(convergence, "THRESHOLDS", (95.0, 92.0))
    row = convergence.run(cell, config, size, splits)
    assert row["end"] == "reached"
    assert row["epochs_to_92"] == row["curve"][-1][0] < 1.0
    monkeypatch.setattr(convergence, "THRESHOLDS", (2.0, 1.0))
    wild = Cell("twin", 1e30, 100)
    assert convergence.run(wild, configuration(wild, size), size, splits)["end"] == "not finite"


def row(kind, rate, batch, to_2, to_1, best, end):
    return {
        "model": kind, "lr": rate, "batch_size": batch, "epochs_to_2": to_2, "epochs_to_1": to_1,
        "best_error_percent": best, "end": end, "cap_epochs": 3.0, "learnt": 1000,
    }  # fmt: skip


def test_table_picture_and_page():
    measured = [
        row("bnsm", 1e-3, 100, 0.25, 1.0, 0.98, "reached"),
        row("twin", 1e-3, 100, 0.5, None, 1.5, "cap"),
        row("bnsm", 1e-3, 1, None, None, None, "not finite"),
        row("twin-bn", 1e-3, 1, None, None, None, "impossible"),
    ]
    headings, lines = table(measured)
    assert len(headings) == 6
    assert lines == [
        ["1", "0.001", "3", "not finite", "impossible", ""],
        ["100", "0.001", "3", "0.25 / 1.00", "", "0.50 / - (1.50 %, cap)"],
    ]
    assert draw(measured).startswith(b"\x89PNG")
    page = Page(report(measured))
    assert_self_contained(page)
    assert lines[0] in page.cells
