"""AEDAT 3.1 and its label tables."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsm.data import DataError
from nsm.data import events as ev
from nsm.data.events.aedat import decode
from nsm.data.events.labels import Label
from tests.data.events.recordings import random_events

TEXT = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"


def packet(rows, *, kind=1, size=8, time=4, overflow=0, capacity=None, number=None, valid=None):
    """Rows are (x, y, t, p, valid)."""
    body = b"".join(struct.pack("<II", x << 17 | y << 2 | p << 1 | v, t) for x, y, t, p, v in rows)
    count = len(rows)
    counts = (
        count if capacity is None else capacity,
        count if number is None else number,
        sum(row[4] for row in rows) if valid is None else valid,
    )
    return struct.pack("<hhiiiiii", kind, 1, size, time, overflow, *counts) + body


def plain(data):
    """The format as its description says, event by event; sound files only."""
    place = data.index(b"#!END-HEADER\r\n") + len(b"#!END-HEADER\r\n")
    rows = []
    while place < len(data):
        kind, _, size, _, overflow, capacity, number, _ = struct.unpack_from("<hhiiiiii", data, place)
        place += 28
        for i in range(number if kind == 1 else 0):
            word, t = struct.unpack_from("<II", data, place + i * size)
            if word & 1:
                rows.append((word >> 17, word >> 2 & 0x7FFF, overflow * 2**31 + t, bool(word >> 1 & 1)))
        place += capacity * size
    return rows


def written(tmp_path, data):
    path = tmp_path / "recording.aedat"
    path.write_bytes(data)
    return path


def row(x=1, y=2, t=3, p=1, v=1):
    return (x, y, t, p, v)


@given(st.lists(st.tuples(*[st.integers(0, 127)] * 2, st.integers(0, 2**40), st.booleans()), min_size=1))
def test_what_is_written_is_read_again(tmp_path_factory, rows):
    rows.sort(key=lambda row: row[2])
    path = tmp_path_factory.getbasetemp() / "again.aedat"
    ev.write_aedat(path, np.array(rows, ev.EVENT))
    assert plain(path.read_bytes()) == rows
    assert ev.read_aedat(path).tolist() == rows


def test_long_recordings_are_written_in_packets(tmp_path):
    events = random_events(20_000, (128, 128, 2))
    events["t"][15_000:] += 2**31
    path = tmp_path / "long.aedat"
    ev.write_aedat(path, events, comments=("a hand moves",))
    data = path.read_bytes()
    assert data.startswith(b"#!AER-DAT3.1\r\n")
    assert b"# a hand moves\r\n" in data
    assert plain(data) == events.tolist()
    assert np.array_equal(ev.read_aedat(path), events)


def test_bytes_are_pinned(tmp_path):
    path = tmp_path / "pinned.aedat"
    ev.write_aedat(path, ev.make([5], [6], [2**31 + 7], [True]))
    assert path.read_bytes().removeprefix(TEXT).hex(" ", 4) == (
        "01000100 08000000 04000000 01000000 01000000 01000000 01000000 1b000a00 07000000"
    )


def test_invalid_events_other_packets_and_spare_room_are_passed_over(tmp_path):
    other = struct.pack("<hhiiiiii", 0, 1, 5, 1, 0, 2, 2, 2) + b"x" * 10
    spare = packet([row(t=5), row(t=6, v=0), row(t=7), row(x=9, t=99)], number=3, valid=2)
    data = TEXT + other + packet([row(t=1)]) + packet([]) + spare + other
    events = ev.read_aedat(written(tmp_path, data))
    assert events["t"].tolist() == [1, 5, 7]
    assert events.tolist() == plain(data)


def short_packets(count, seed=0):
    """Packets of none to three events, some of them not valid, whose clock overflows now and then."""
    rng = np.random.default_rng(seed)
    data, t = [], 0
    for length in rng.integers(0, 4, count).tolist():
        places, valid = rng.integers(0, 128, (length, 2)).tolist(), rng.random(length) < 0.9
        rows = [row(x, y, t % 2**31 + i, v=int(valid[i])) for i, (x, y) in enumerate(places)]
        data.append(packet(rows, overflow=t >> 31))
        t += 2**31 if rng.random() < 0.01 else 3
    return b"".join(data)


def test_short_packets_are_decoded_together(tmp_path, monkeypatch):
    data = TEXT + short_packets(20_000)
    calls = []

    def counted(words, *others):
        calls.append(len(words) // 2)
        decode(words, *others)

    monkeypatch.setattr("nsm.data.events.aedat.decode", counted)
    assert ev.read_aedat(written(tmp_path, data)).tolist() == plain(data)
    assert len(calls) == -(-sum(calls) // 8192) > 2


@pytest.mark.parametrize("number", [0, 8190, 8191, 8192, 12_345, 29_999])
def test_an_event_of_short_packets_is_named_by_its_byte(tmp_path, number):
    one = packet([row(v=0), row()])
    data = bytearray(TEXT + one * 30_000)
    byte = len(TEXT) + number * len(one) + 28 + 8
    data[byte : byte + 4] = struct.pack("<I", 128 << 17 | 1)
    with pytest.raises(DataError, match=rf"event {number} at byte {byte} lies at \(128, 0\)"):
        ev.read_aedat(written(tmp_path, data))
    data[byte] ^= 1
    with pytest.raises(DataError, match=rf"packet at byte {byte - 36} says 1 valid events, but marks 0"):
        ev.read_aedat(written(tmp_path, data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "starts with b'' at byte 0, but AEDAT 3.1 starts with b'#!AER-DAT3.1'"),
        (b"#!AER-DAT2.0\r\n", "starts with b'#!AER-DAT2.0"),
        (TEXT.replace(b"RAW", b"PNG"), "format at byte 14 must be RAW, got b' PNG'"),
        (TEXT.replace(b"#Source", b"Source"), "line at byte 28 does not start with '#'"),
        (TEXT[:-5], "has no line #!END-HEADER in its first 56 bytes"),
        (b"#!AER-DAT3.1\r\n" + b"# on and on\r\n" * 10_000, "has no line .* in its first 65536 bytes"),
        (TEXT, "holds no event"),
        (TEXT + packet([row()])[:20], "packet at byte 61 ends within its header: 20 of 28 bytes"),
        (
            TEXT + packet([row()] * 2)[:-1],
            "packet at byte 61 says 2 events of 8 bytes, but 15 bytes are left",
        ),
        (TEXT + packet([row()], capacity=2**31 - 1), "says 2147483647 events of 8 bytes, but 8 bytes are"),
        (TEXT + packet([row()], number=2), "packet at byte 61 says 1 valid of 2 events in space for 1"),
        (TEXT + packet([row()], number=-1), "packet at byte 61 has a negative number in its header"),
        (TEXT + packet([row()], size=0), "has a negative number in its header, or events of 0 bytes"),
        (TEXT + packet([row()], size=9), "says polarity events of 9 bytes with time at 4, must be 8 and 4"),
        (
            TEXT + packet([row()]) + packet([row(v=0)], valid=1),
            "packet at byte 97 says 1 valid events, but marks 0",
        ),
        (TEXT + packet([row(), row(x=128)]), r"event 1 at byte 97 lies at \(128, 2\), outside .* 128 x 128"),
        (
            TEXT + packet([row(v=0), row(t=9)]) + packet([row(v=0), row(t=8)]),
            "time runs back from 9 to 8 us at event 1, byte 141",
        ),
    ],
)
def test_broken_recordings_end_in_a_clear_error(tmp_path, data, message):
    path = written(tmp_path, data)
    with pytest.raises(DataError, match=f"^{path}: .*{message}"):
        ev.read_aedat(path)


@pytest.mark.parametrize(
    ("data", "times"),
    [
        (TEXT, []),
        (TEXT + packet([row(t=1)]) + packet([row(t=2)])[:20], [1]),
        (TEXT + packet([row(t=1)]) + packet([row(t=2), row(t=3)])[:-1], [1, 2]),
        (TEXT + packet([row(t=1)]) + packet([row(t=2)], number=2) + packet([row(t=3)]), [1]),
        (TEXT + packet([row(t=1), row(t=2, v=0)], valid=2), [1]),
        (TEXT + packet([row(t=1), row(x=128, t=2), row(t=3)]), [1, 3]),
        (TEXT + packet([row(t=9), row(t=8)]), [8, 9]),
    ],
)
def test_they_are_repaired_if_asked(tmp_path, data, times):
    assert ev.read_aedat(written(tmp_path, data), repair=True)["t"].tolist() == times


def test_what_the_format_cannot_hold_is_not_written(tmp_path):
    for events in (ev.make([-1], [0], [0], [0]), ev.make([0], [0], [2**62], [0])):
        with pytest.raises(ValueError, match="in this format"):
            ev.write_aedat(tmp_path / "no.aedat", events)
    for write in (ev.write_aedat, ev.write_nmnist):
        with pytest.raises(ValueError, match=r"events must be a structured array .*, got list"):
            write(tmp_path / "no.aedat", [(0, 0, 0, True)])
    with pytest.raises(ValueError, match="comments must be printable lines"):
        ev.write_aedat(tmp_path / "no.aedat", random_events(), comments=("a\n#!END-HEADER",))
    assert list(tmp_path.iterdir()) == []


LABELS = [Label(0, 5, 10), Label(10, 10, 2**40)]


def test_label_tables_are_read_as_they_are_written(tmp_path):
    path = tmp_path / "labels.csv"
    ev.write_labels(path, LABELS)
    assert path.read_text() == f"class,startTime_usec,endTime_usec\n1,5,10\n11,10,{2**40}\n"
    assert ev.read_labels(str(path), 11) == LABELS
    last = [Label(np.int64(10**15 - 2), np.uint64(10**15 - 3), 10**15 - 2)]
    ev.write_labels(path, last)
    assert ev.read_labels(path, 10**15) == last


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "labels must hold at least one gesture, got none"),
        ([LABELS[0], Label(-1, 5, 10)], r"labels\[1\].target must be a whole number in .* got -1"),
        ([Label(0, 10, 5)], r"labels\[0\].end must be a whole number in \[11, 9+8\], got 5"),
        ([Label(0, 5, 10**15)], r"labels\[0\].end must be a whole number in \[6, 9+8\]"),
        ([Label(0, 5.0, 10)], r"labels\[0\].start must be a whole number in \[0, 9+7\], got 5.0"),
        ([Label(True, 5, 10)], r"labels\[0\].target must be a whole number in .* got True"),
        ([Label("0", 5, 10)], r"labels\[0\].target must be a whole number in .* got '0'"),
        ([Label(10**15 - 1, 5, 10)], r"labels\[0\].target must be a whole number in"),
    ],
)
def test_labels_that_would_not_be_read_are_not_written(tmp_path, labels, message):
    with pytest.raises(ValueError, match=message):
        ev.write_labels(tmp_path / "labels.csv", labels)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 must be class,startTime_usec,endTime_usec, got ''"),
        ("class,start,end\n", "line 1 must be"),
        ("class,startTime_usec,endTime_usec\n", "holds no label"),
        ("class,startTime_usec,endTime_usec\n1,2\n", "line 2 must be three whole numbers, got '1,2'"),
        ("class,startTime_usec,endTime_usec\n1,-2,3\n", "line 2 must be three whole numbers"),
        ("class,startTime_usec,endTime_usec\n1,2," + "9" * 5000, "line 2 must be three whole numbers"),
        ("class,startTime_usec,endTime_usec\n0,2,3\n", r"class in line 2 must be in \[1, 11\], got 0"),
        ("class,startTime_usec,endTime_usec\n1,2,3\n12,2,3\n", r"class in line 3 must be .* got 12"),
        ("class,startTime_usec,endTime_usec\n1,3,3\n", "gesture in line 2 ends at 3 us, not after its start"),
        ("class,startTime_usec,endTime_usec\n1,2,\u0663\n", "byte 38 is no ASCII text"),
    ],
)
def test_other_tables_end_in_a_clear_error(tmp_path, text, message):
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=f"^{path}: {message}"):
        ev.read_labels(path, 11)


def test_space_around_numbers_does_not_matter(tmp_path):
    path = tmp_path / "labels.csv"
    # The last kind of space is one to str.strip and none to int: found by fuzzing.
    path.write_bytes(b"class,startTime_usec,endTime_usec\r\n 1, 2 ,\x1f3\r\n\r\n")
    assert ev.read_labels(path, 11) == [Label(0, 2, 3)]
