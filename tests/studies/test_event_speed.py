import pytest

from nsm.studies import event_speed
from tests.data.events.recordings import lay_out_nmnist


def test_every_reader_and_representation_is_timed_beside_tonic(tmp_path):
    pytest.importorskip("tonic")
    lay_out_nmnist(tmp_path)
    rows = event_speed.rows(repeats=1, root=tmp_path, aedat_events=1000)
    assert [row["name"] for row in rows] == [
        "read N-MNIST",
        "read AEDAT 3.1",
        "TimeFrames",
        "CountFrames",
        "VoxelGrid",
        "TimeSurface",
    ]
    assert [row["events"] for row in rows] == [6000, 1000, *[6000] * 4]
    assert all(row["ours"] > 0 and row["fastest_rival"] > 0 for row in rows)
