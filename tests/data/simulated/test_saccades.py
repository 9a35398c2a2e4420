"""Simulated saccades: a function of image, number and seed; a plain version; extremes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from nsm.data import ImageSet
from nsm.data import events as ev
from nsm.data.simulated import NMNIST_LIKE, simulate
from nsm.data.simulated.images import as_recordings, copies_of
from nsm.data.simulated.saccades import _light

QUIET = replace(NMNIST_LIKE, noise=0.0, mismatch=0.0)


def images(n=5, seed=0):
    """Random strokes."""
    drawn = torch.zeros(n, 1, 28, 28, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(seed)
    for image in drawn:
        for row, column in torch.randint(6, 20, (6, 2), generator=generator).tolist():
            image[0, row : row + 3, column : column + 6] = 255
    return drawn


def recordings(*arguments, **options):
    return list(simulate(*arguments, **{"seed": 3, **options}))


def test_a_recording_is_sound_and_fits_the_format(tmp_path):
    for i, events in enumerate(recordings(images())):
        assert events.dtype == ev.EVENT
        assert 500 < len(events) < 10_000
        assert 0 <= events["t"][0] <= events["t"][-1] < NMNIST_LIKE.duration
        ev.write_nmnist(tmp_path / f"{i}.bin", events)
        assert np.array_equal(ev.read_nmnist(tmp_path / f"{i}.bin"), events)


def test_a_recording_belongs_to_image_number_and_seed_whatever_the_batch():
    pixels = images(70)
    whole = recordings(pixels)
    assert len(whole) == 70
    for first, last in ((0, 1), (31, 34), (60, 70)):
        part = recordings(pixels[first:last], first=first)
        assert all(np.array_equal(a, b) for a, b in zip(part, whole[first:last], strict=True))
    assert not np.array_equal(recordings(pixels[:1], seed=4)[0], whole[0])
    assert not np.array_equal(recordings(pixels[:1], first=1)[0], whole[0])


@pytest.mark.parametrize("size", [28, 9, 40])
def test_light_is_the_same_bits_alone_and_in_a_batch(size):
    generator = torch.Generator().manual_seed(2)
    pixels = torch.randint(0, 256, (32, 1, size, size), dtype=torch.uint8, generator=generator)
    alone = np.concatenate([_light(image[None], NMNIST_LIKE) for image in pixels])
    assert np.array_equal(_light(pixels, NMNIST_LIKE), alone)
    if size == 28:  # the last bits of this one's light decide on an event
        assert np.array_equal(recordings(pixels)[22], recordings(pixels[22:23], first=22)[0])


@pytest.mark.parametrize("first", [-1, 2**32 - 2, 2.0, True, None])
def test_numbers_that_no_recording_has_are_refused(first, tmp_path):
    message = r"first must be a whole number in \[0, 4294967293\] for 3 recordings, got"
    with pytest.raises(ValueError, match=message):
        simulate(images(3), seed=0, first=first)
    seen = ImageSet(images(3), torch.arange(3), ("a", "b", "c"), "strokes")
    with pytest.raises(ValueError, match=message):
        as_recordings(seen, "strokes-simulated", tmp_path, first=first)
    with pytest.raises(ValueError, match=message):
        copies_of(seen, ev.EventAugmentation(), tmp_path, copies=1, first=first)
    assert not list(tmp_path.iterdir())


def test_the_last_numbers_are_recordings_as_well():
    assert all(map(len, recordings(images(3), first=np.int64(2**32 - 3))))


@pytest.mark.parametrize("blur", [0.0, 0.3, 2.0])
def test_the_blur_is_a_gaussian_that_loses_no_ink(blur):
    dot = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    dot[0, 0, 14, 14] = 255
    light = np.exp(_light(dot, replace(NMNIST_LIKE, blur=blur))[0].astype(np.float64))
    ink = (1.0 - light) / (1.0 - NMNIST_LIKE.dark)
    assert ink.sum() == pytest.approx(1.0, abs=1e-4)
    away = np.abs(np.arange(-6, 7))
    spread = np.exp(-0.5 * (away / blur) ** 2) if blur else (away == 0).astype(float)
    spread[away > np.ceil(3 * blur)] = 0.0
    assert np.allclose(ink[17:30, 17:30], np.outer(spread, spread) / spread.sum() ** 2, atol=1e-5)


def plain(image, saccades):
    """Without noise and mismatch, pixel by pixel and step by step: cells, steps, polarities."""
    light = _light(image[None], saccades)[0].astype(np.float64)
    places, fired = np.array(saccades.path), set()
    blind = max(1, round(saccades.refractory / 1000))
    follow = 1.0 - math.exp(-1000 / saccades.delay)
    steps = 10 * (len(places) - 1)

    def sight(step, y, x):
        right, down = (np.interp(step / 10, np.arange(len(places)), places[:, axis]) for axis in (0, 1))
        row, column = y + 6 - down, x + 6 - right
        i, j = int(row), int(column)
        a, b = row - i, column - j
        return (
            (1 - a) * (1 - b) * light[i, j]
            + (1 - a) * b * light[i, j + 1]
            + a * (1 - b) * light[i + 1, j]
            + a * b * light[i + 1, j + 1]
        )

    for y in range(0, 34, 3):
        for x in range(0, 34, 3):
            seen = reference = sight(0, y, x)
            until = 0
            for step in range(steps):
                seen += follow * (sight(step, y, x) - seen)
                if step < until:
                    reference = seen
                change = seen - reference
                if change > saccades.on or change < -saccades.off:
                    fired.add((x, y, step, change > 0))
                    reference, until = seen, step + blind
    return fired


def test_the_plain_version_fires_alike():
    image = images(1)[0]
    (events,) = recordings(image[None], saccades=QUIET)
    got = {(x, y, t // 1000, p) for x, y, t, p in events.tolist() if x % 3 == 0 and y % 3 == 0}
    expected = plain(image, QUIET)
    assert len(expected) > 50
    # float32 against float64: a threshold may be crossed a step later.
    assert len(got ^ expected) < 0.02 * len(expected)


def test_an_empty_picture_gives_noise_alone():
    blank = torch.zeros(200, 1, 28, 28, dtype=torch.uint8)
    assert all(len(events) == 0 for events in recordings(blank, saccades=QUIET))
    noisy = recordings(blank, saccades=replace(QUIET, noise=0.5))
    expected = 0.5 * 34 * 34 * NMNIST_LIKE.duration / 1e6
    counts = np.array([len(events) for events in noisy])
    assert abs(counts.mean() - expected) < 6 * (expected / 200) ** 0.5
    assert 0.7 < counts.var() / expected < 1.4
    on = np.concatenate([events["p"] for events in noisy])
    assert abs(on.mean() - 0.5) < 6 * 0.5 / len(on) ** 0.5


def test_a_pixel_is_blind_after_an_event():
    for events in recordings(images(), saccades=replace(QUIET, refractory=20_000.0)):
        place = events["y"].astype(int) * 34 + events["x"]
        order = np.lexsort((events["t"], place))
        gaps = np.diff(events["t"][order])[np.diff(place[order]) == 0]
        assert gaps.min() > 19_000  # within one step of a millisecond


def test_higher_thresholds_give_fewer_events():
    counts = [
        sum(map(len, recordings(images(), saccades=replace(QUIET, on=level, off=level))))
        for level in (0.1, 0.3, 1.0, 5.0)
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 0


def test_images_of_other_sizes_are_resampled():
    small = images(1)[..., ::2, ::2]
    assert len(recordings(small)[0]) > 100


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (torch.zeros(1, 1, 28, 28), "images must be uint8 of shape .* got torch.float32"),
        (torch.zeros(1, 3, 28, 28, dtype=torch.uint8), r"got torch.uint8 of \(1, 3, 28, 28\)"),
    ],
)
def test_other_images_are_refused(pixels, message):
    with pytest.raises(ValueError, match=message):
        recordings(pixels)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"on": 0.0}, r"on must be in \(0.0, inf\), got 0.0"),
        ({"dark": 1.0}, r"dark must be in \(0.0, 1.0\), got 1.0"),
        ({"noise": -1.0}, r"noise must be in \[0.0, inf\), got -1.0"),
        ({"delay": float("nan")}, "delay must be in"),
        ({"on": None}, "on must be a number, got None"),
        ({"noise": "a"}, "noise must be a number, got 'a'"),
        ({"path": ((0.0, 0.0), (float("nan"), 0.0))}, r"path must have .*, got \(\(0\.0, 0\.0\), \(nan"),
        ({"path": ((0.0,), (0.0,))}, r"path must have at least two places \(right, down\) within 6 pixels"),
        ({"path": (0.0, 0.0)}, "path must have at least two places"),
        ({"path": (("a", 0.0), (0.0, 0.0))}, "path must be a number, got 'a'"),
        ({"path": ((0.0, 0.0),)}, "path must have at least two places"),
        ({"path": ((0.0, 0.0), (7.0, 0.0))}, "path must have at least two places .* within 6 pixels"),
    ],
)
def test_impossible_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        replace(NMNIST_LIKE, **fields)
