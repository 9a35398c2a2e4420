"""The measurement of streams, in small."""

import numpy as np

from nsm.studies import results, stream_speed
from nsm.studies.tables import render


def test_every_part_is_measured_told_and_drawn(tmp_path):
    done = []
    rows = stream_speed.run(
        seconds=0.05, decisions=3, minutes=1, repeats=1, rate=20_000, progress=lambda *at: done.append(at)
    )
    names = [row["name"] for row in rows]
    assert names[:3] == [
        "window alone",
        "window made anew for each decision",
        "stream with program, 10 samples",
    ]
    assert {row["unit"] for row in rows} >= {"load", "ms"}
    assert all(row["value"] > 0 for row in rows)
    for row in rows:
        if row["unit"] == "ms":
            assert row["decisions"] >= 3
            assert row["value"] == row["percentiles"][50]
            assert row["percentiles"] == sorted(row["percentiles"])
    assert done[-1][0] == len(rows)
    assert stream_speed.draw(rows).startswith(b"\x89PNG")
    results.write(tmp_path / "stream.json", stream_speed.STUDY, rows)
    assert render("stream", tmp_path).count("\n") == 2 + len(rows)


def test_events_arrive_in_order_at_the_rate():
    arrays = stream_speed._arrays(50_000, 0.2, 1000, seed=1, start=7_000_000)
    t = np.concatenate(arrays)["t"]
    assert len(t) == 10_000
    assert (np.diff(t) >= 0).all()
    assert t.min() >= 7_000_000
    assert t.max() < 7_200_000
    assert all(part["t"].max() // 1000 == part["t"].min() // 1000 for part in arrays)
