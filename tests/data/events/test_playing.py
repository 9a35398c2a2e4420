"""Playing a recording gives the events of reading it, however the bytes arrive."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsm.data import DataError
from nsm.data import events as ev
from tests.data.events.recordings import random_events
from tests.data.events.test_aedat import TEXT, packet, row
from tests.data.events.test_nmnist import event


class Pipe(io.RawIOBase):
    """Gives the bytes in pieces of some lengths, again and again."""

    def __init__(self, data, lengths=()):
        self.data, self.lengths, self.turn = data, lengths, 0

    def read1(self, size):
        assert 0 < size <= 2**17
        length = self.lengths[self.turn % len(self.lengths)] if self.lengths else size
        self.turn += 1
        given, self.data = self.data[: min(size, length)], self.data[min(size, length) :]
        return given


def played(data, lengths=()):
    parts = list(ev.play(Pipe(data, lengths), "pipe"))
    assert all(0 < len(part) <= 8192 for part in parts)
    return np.concatenate(parts) if parts else np.empty(0, ev.EVENT)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=5), st.integers(1, 400), st.integers(0, 2**31))
def test_aedat_in_pieces(tmp_path_factory, lengths, n, later):
    path = tmp_path_factory.getbasetemp() / "piped.aedat"
    events = random_events(n, (128, 128, 2))
    events["t"][n // 2 :] += later
    ev.write_aedat(path, events)
    assert np.array_equal(played(path.read_bytes(), lengths), events)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.lists(st.integers(0, 3), max_size=60))
def test_nmnist_in_pieces(tmp_path_factory, lengths, rows):
    data = b"".join(event(y=240 if kind == 0 else kind, t=i) for i, kind in enumerate(rows)) + event(t=99)
    path = tmp_path_factory.getbasetemp() / "piped.bin"
    path.write_bytes(data)
    assert np.array_equal(played(data, lengths), ev.read_nmnist(path))


def test_long_recordings(tmp_path):
    for write, name in ((ev.write_aedat, "long.aedat"), (ev.write_nmnist, "long.bin")):
        events = random_events(20_000)
        write(tmp_path / name, events)
        with (tmp_path / name).open("rb") as file:
            assert np.array_equal(np.concatenate(list(ev.play(file, name))), events)


def test_the_events_of_a_packet_do_not_wait_for_its_end():
    data = TEXT + packet([row(t=1), row(t=2), row(t=3), row(t=4)])
    begun = len(data) - 32
    parts = ev.play(Pipe(data, (begun, 11, 3, 10, 8)), "pipe")
    assert [part["t"].tolist() for part in parts] == [[1], [2, 3], [4]]


def test_invalid_events_other_packets_and_spare_room_are_passed_over(tmp_path):
    other = packet([row()] * 3, kind=0, size=5, valid=0, number=2, capacity=3)[:-9]
    spare = packet([row(t=5), row(t=6, v=0), row(t=7), row(x=9, t=99)], number=3, valid=2)
    data = TEXT + other + packet([row(t=1)]) + packet([]) + spare + packet([row(v=0)]) + other
    assert played(data)["t"].tolist() == [1, 5, 7]


def test_what_lies_off_a_sensor_or_runs_back_is_played():
    assert played(TEXT + packet([row(x=30_000, t=9), row(t=8)])).tolist() == [
        (30_000, 2, 9, True),
        (1, 2, 8, True),
    ]


@pytest.mark.parametrize(
    ("data", "before", "message"),
    [
        (b"", 0, "holds nothing"),
        (b"#!AER-DAT2.0\r\n", 0, "starts with b'#!AER-DAT2.0"),
        (TEXT.replace(b"RAW", b"PNG"), 0, "format at byte 14 must be RAW"),
        (b"#!AER-DAT3.1\r\n" + b"# on and on\r\n" * 10_000, 0, "has no line .* in its first 65536 bytes"),
        (TEXT[:-5], 0, "has no line #!END-HEADER in its first 56 bytes"),
        (
            TEXT + packet([row()]) + packet([row()])[:20],
            1,
            "packet at byte 97 ends within its header: 20 of 28",
        ),
        (
            TEXT + packet([row(), row(t=4)])[:-1],
            1,
            "packet at byte 61 says 2 events of 8 bytes, but 15 bytes are left",
        ),
        (
            TEXT + packet([row()], capacity=2**31 - 1),
            1,
            "says 2147483647 events of 8 bytes, but 8 bytes are left",
        ),
        (TEXT + packet([row()], number=-1), 0, "packet at byte 61 has a negative number in its header"),
        (TEXT + packet([row()], size=9), 0, "says polarity events of 9 bytes with time at 4"),
        (TEXT + packet([row(), row(v=0)], valid=2), 1, "packet at byte 61 says 2 valid events, but marks 1"),
        (event() + event()[:3], 1, "ends within an event, 3 bytes after byte 5"),
        (b"\0", 0, "ends within an event, 1 bytes after byte 0"),
    ],
)
@pytest.mark.parametrize("lengths", [(), (1,), (7, 64)], ids=str)
def test_broken_recordings_end_in_a_clear_error_after_what_came_before(data, before, message, lengths):
    parts = []
    with pytest.raises(DataError, match=f"^pipe: .*{message}"):
        parts.extend(ev.play(Pipe(data, lengths), "pipe"))
    assert sum(map(len, parts)) == before


def test_a_pipe_that_fails_is_a_broken_recording():
    class Failing:
        def read1(self, size):
            raise OSError(5, "Input/output error")

    with pytest.raises(DataError, match=r"^pipe: cannot be read"):
        list(ev.play(Failing(), "pipe"))


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["aedat", "bin"]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=3),
    st.integers(0, 400),
)
def test_what_can_be_read_is_played_the_same(tmp_path_factory, kind, changes, length):
    path = tmp_path_factory.getbasetemp() / f"changed.{kind}"
    write, read = (ev.write_aedat, ev.read_aedat) if kind == "aedat" else (ev.write_nmnist, ev.read_nmnist)
    write(path, random_events(30))
    data = bytearray(path.read_bytes())
    for place, value in changes:
        data[place % len(data)] = value
    data = bytes(data[: len(data) - max(0, length - 350)])
    path.write_bytes(data)
    parts, damage = [], None
    try:
        parts.extend(ev.play(Pipe(data, (50,)), "pipe"))
    except DataError as error:
        damage = error
    try:
        events = read(path)
    except DataError:
        return
    assert damage is None
    assert np.array_equal(np.concatenate(parts), events)
