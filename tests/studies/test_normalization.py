"""The study of self-normalization on the bundled digits."""

import json

import pytest

from nsm.studies import normalization, runs
from nsm.studies.inside import weight_percentiles
from nsm.studies.normalization import KINDS, Size, jobs, ordered, scoring
from nsm.studies.normalization_report import TABLES, draw, report
from nsm.training import fresh_network, load_splits
from tests.report.html import Page, assert_self_contained

SMALL = Size(epochs=3, images=500, validation=300, steps=10, looked=50, samples=2, repeats=1)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("normalization")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(normalization, "NETWORK", "digits")
        wanted = jobs(folder, SMALL)
    rows = ordered(runs.rows(wanted, scoring(SMALL), processes=1, root=None))
    return wanted, rows


def test_every_kind_learns_alike_but_for_its_neurons(measured):
    wanted, _ = measured
    assert [job.label for job in wanted] == list(KINDS)
    parts = [(job.config.data, job.config.augmentation, job.config.training) for job in wanted]
    assert all(part == parts[0] for part in parts)
    assert parts[0][0].images == 500
    assert parts[0][2].schedule == "constant"


def test_a_row_holds_every_measure(measured):
    wanted, rows = measured
    assert [row["model"] for row in rows] == list(KINDS)
    for job, row in zip(wanted, rows, strict=True):
        assert (row["learnt"], row["n"], row["epochs"]) == (500, 300, 3)
        assert row["preactivations"]["step"] == [0, 5, 10]
        assert {layer: len(course) for layer, course in row["weights"].items()} == {
            "layer 1": 4,
            "layer 2": 4,
        }
        start = fresh_network(job.config, load_splits(job.config).train)
        assert [course[0] for course in row["weights"].values()] == weight_percentiles(start)
        kept = json.loads((job.folder / normalization.WEIGHTS_FILE).read_text())
        assert [course[3] for course in row["weights"].values()] == kept["3"]
        unchanged = next(entry for entry in row["changes"] if entry["change"] == "none")
        assert unchanged["error_percent"] == row["error_percent"]
    assert json.loads(json.dumps(rows)) == rows


def test_the_weights_of_all_kinds_start_alike(measured):
    _, rows = measured
    starts = [[course[0] for course in row["weights"].values()] for row in rows]
    assert all(
        left == pytest.approx(right, rel=0.05, abs=0.002)
        for start in starts
        for left, right in zip(start, starts[0], strict=True)
    )


def test_tables_picture_and_page(measured):
    _, rows = measured
    for _, build in TABLES.values():
        headings, lines = build(rows)
        assert all(len(line) == len(headings) for line in lines)
    assert draw(rows).startswith(b"\x89PNG")
    page = Page(report(rows))
    assert_self_contained(page)
    titles = {line[0] for line in page.cells if line}
    assert {kind.title for kind in KINDS.values()} < titles
    assert "rectifiers, batch norm, statistics anew" in titles
