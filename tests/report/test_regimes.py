import numpy as np
import pytest

from nsm.report import Asked, Regime, Regimes, regimes_picture, regimes_report
from nsm.report.distribution import Answer
from tests.report.html import Page, assert_self_contained


@pytest.fixture
def shown():
    rng = np.random.default_rng(0)
    asked = [
        Asked(
            rng.integers(0, 2, (10, 34, 34), np.uint8) * np.uint8(255),
            i % 10,
            [Answer(name, "#1f5fa8", rng.dirichlet(np.ones(10))) for name in ("NSM", "Twin")],
            "Entropy 1.00 nats.",
        )
        for i in range(9)
    ]
    regimes = [
        Regime("few <real>", {"NSM": 7.5, "Twin": 9.0}, {"NSM": [40.0, 7.5], "Twin": [30.0, 9.0]}),
        Regime("simulated", {"NSM": 3.0, "Twin": 4.0}, {}),
        Regime("both", {"NSM": 0.0, "Twin": 1.0}, {"NSM": [2.0, 0.0], "Twin": [3.0, 1.0]}),
    ]
    return Regimes(
        title="Few recordings",
        lead="What was compared.",
        regimes=regimes,
        colours={"NSM": "#1f5fa8", "Twin": "#d0701f"},
        judged="800 recordings",
        asked=asked,
        classes=tuple("0123456789"),
        headings=("learnt", "error"),
        cells=[["few <real>", "7.50"]],
        texts=1,
        notes=["A note."],
        origin=[("seed", "0")],
    )


def test_the_page_says_what_the_picture_shows(shown):
    page = Page(regimes_report(shown))
    assert_self_contained(page)
    assert ["few <real>", "7.50"] in page.cells
    assert (
        "few <real>: NSM 7.50 %, Twin 9.00 %; simulated: NSM 3.00 %, Twin 4.00 %; " in page.images[0]["alt"]
    )
    assert len(page.images) == 1 + len(shown.asked)
    assert "A note." in page.texts


def test_the_picture_is_drawn_with_few_recordings_and_regimes(shown):
    assert regimes_picture(shown, kind="png").startswith(b"\x89PNG")
    for asked in (shown.asked[:3], []):
        fewer = shown._replace(regimes=shown.regimes[:2], asked=asked)
        assert b"<svg" in regimes_picture(fewer)
    without = shown._replace(regimes=[regime._replace(courses={}) for regime in shown.regimes])
    assert b"<svg" in regimes_picture(without)
