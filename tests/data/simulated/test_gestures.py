"""Simulated gestures: a function of user, light and seed; anatomy; a plain drawing; files."""

import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import torch

from nsm import data
from nsm.data import DataError
from nsm.data import events as ev
from nsm.data.classes import GESTURES
from nsm.data.events.representations import GESTURE_FRAMES
from nsm.data.simulated.gestures import (
    FOLDER,
    LIGHTINGS,
    Trial,
    files,
    simulate_gestures,
    small_trials,
    trials,
    write_gestures,
)
from nsm.data.simulated.gestures.body import _FOREARM, _UPPER_ARM, Capsules, _joints
from nsm.data.simulated.gestures.motions import MOTIONS, resting
from nsm.data.simulated.gestures.people import gesture_draws, person
from nsm.data.simulated.gestures.scene import _EDGE, _ROUND, rendered

KEY = torch.tensor(7)
WINDOWS = GESTURE_FRAMES.bins * GESTURE_FRAMES.width


@pytest.fixture(scope="module")
def recording():
    return simulate_gestures(*small_trials()[0], seed=0)


def of_gesture(recording, name):
    label = recording.labels[GESTURES.index(name)]
    t = recording.events["t"]
    return recording.events[(t >= label.start) & (t < label.end)]


def test_a_recording_is_sound_and_holds_every_gesture(recording):
    events, labels = recording
    assert events.dtype == ev.EVENT
    assert np.all(np.diff(events["t"]) >= 0)
    assert all(0 <= events[axis].min() <= events[axis].max() < 128 for axis in "xy")
    assert [label.target for label in labels] == list(range(11))
    assert all(before.end < after.start for before, after in pairwise(labels))
    assert all(label.end - label.start >= WINDOWS for label in labels)
    assert all(2000 < len(of_gesture(recording, name)) < 200_000 for name in GESTURES)
    assert 0.3 < events["p"].mean() < 0.7


def test_a_recording_belongs_to_user_light_and_seed(monkeypatch):
    # One gesture says as much as eleven.
    monkeypatch.setattr("nsm.data.simulated.gestures.recording.MOTIONS", MOTIONS[:1])
    recording = simulate_gestures(2, "natural", seed=0)
    assert len(recording.events) > 2000
    assert np.array_equal(simulate_gestures(2, "natural", seed=0).events, recording.events)
    for other in (
        simulate_gestures(2, "natural", seed=1),
        simulate_gestures(3, "natural", seed=0),
        simulate_gestures(2, "led", seed=0),
    ):
        assert not np.array_equal(other.events, recording.events)
        assert other.labels != recording.labels
    assert person(KEY, 2) == person(KEY, 2) != person(KEY, 3)


def test_the_right_hand_is_on_the_left_of_the_picture(recording):
    right, left = (of_gesture(recording, f"{side}_hand_wave")["x"].mean() for side in ("right", "left"))
    assert right < 55
    assert left > 73


@pytest.mark.parametrize(
    ("name", "arm", "side", "turn"),
    [
        ("right_arm_clockwise", 0, -1, 1),
        ("right_arm_counter_clockwise", 0, -1, -1),
        ("left_arm_clockwise", 1, 1, 1),
        ("left_arm_counter_clockwise", 1, 1, -1),
    ],
)
def test_arms_turn_as_they_are_called_for_the_camera(name, arm, side, turn):
    phase = np.linspace(0, 2 * np.pi, 100)
    arms = MOTIONS[GESTURES.index(name)].arms(phase, 1.0, gesture_draws(KEY, 0, 0))
    assert np.array_equal(arms[1 - arm].wrist, resting(100).wrist)
    x, y = side * arms[arm].wrist[:, 0], arms[arm].wrist[:, 1]
    x, y = x - x.mean(), y - y.mean()
    # In a picture whose y goes down, a clockwise turn has a positive area.
    area = (x[:-1] * np.diff(y) - y[:-1] * np.diff(x)).sum() / 2
    assert turn * area > 0.5


@pytest.mark.parametrize("target", range(11))
def test_bones_keep_their_length(target):
    who = person(KEY, 5)
    phase = np.linspace(0, 4 * np.pi, 60)
    arms = MOTIONS[target].arms(phase, 1.15, gesture_draws(KEY, 3, target))
    shoulder = np.zeros((60, 3))
    for side, arm in zip((-1.0, 1.0), arms, strict=True):
        elbow, wrist, _ = _joints(who, shoulder, side, arm)
        length = who.size * who.arm
        assert np.allclose(np.linalg.norm(elbow, axis=1), _UPPER_ARM * length)
        assert np.allclose(np.linalg.norm(wrist - elbow, axis=1), _FOREARM * length)


def test_capsules_are_drawn_as_the_plain_version_draws_them():
    start = np.array([[[20, 30], [60, 110]], [[25, 33], [60, 112]]], np.float32)
    end = np.array([[[70, 55], [60, 110]], [[72, 51], [61, 140]]], np.float32)
    radius = np.array([[6, 9], [6.5, 9]], np.float32)
    reflectance = np.array([[0.4, 0.9], [0.4, 0.9]], np.float32)
    wall = np.full((128, 128), 0.6, np.float32)
    (drawn,) = rendered(Capsules(start, end, radius, reflectance), wall)
    for step in range(2):
        for y in range(0, 128, 5):
            for x in range(0, 128, 5):
                light = 0.6
                for part in range(2):
                    a, b = start[step, part].astype(float), end[step, part].astype(float)
                    line = b - a
                    along = min(max((np.array([x, y]) - a) @ line / max(line @ line, 1e-6), 0.0), 1.0)
                    away = np.linalg.norm(np.array([x, y]) - a - along * line)
                    r, colour = float(radius[step, part]), float(reflectance[step, part])
                    shade = max(colour * (1 - _ROUND * (away / r) ** 2), colour * (1 - _ROUND))
                    cover = min(max((r - away) / _EDGE + 0.5, 0.0), 1.0)
                    light += cover * (shade - light)
                assert drawn[step, y, x] == pytest.approx(light, abs=1e-4)


def test_the_official_loader_reads_them(few_gestures, recording):
    folder = few_gestures / FOLDER
    assert json.loads((folder / "simulation.json").read_text())["simulated"] is True
    for split, users in (("train", {1}), ("test", {24})):
        recordings = ev.dvs_gesture(split, few_gestures, folder=FOLDER)
        assert {item.user for item in recordings.items} == users
        assert {item.lighting for item in recordings.items} <= set(LIGHTINGS)
        assert recordings.targets.tolist() == list(range(11)) * len(users)
    trial = small_trials()[0]
    header = (folder / f"{trial.name}.aedat").read_bytes()[:2000]
    assert b"Simulated" in header[:200]
    assert b"Seed 0" in header
    assert np.array_equal(ev.read_aedat(folder / f"{trial.name}.aedat"), recording.events)
    assert ev.read_labels(folder / f"{trial.name}_labels.csv", 11) == recording.labels


def test_they_become_the_windows_of_the_published_network(few_gestures):
    splits = data.load("dvsgesture-simulated", few_gestures, validation=0)
    assert (len(splits.train), len(splits.test)) == (11 * 18, 11 * 18)
    assert splits.train.images.shape[1:] == (6, 64, 64)
    framed = data.event_images("dvsgesture-simulated", "test", few_gestures)
    assert torch.equal(framed.images.images, splits.test.images)
    assert framed.recordings.tolist() == [i for i in range(11) for _ in range(18)]
    with pytest.raises(ValueError, match="must be that of a set of event recordings, got 'mnist'"):
        data.event_images("mnist", "test", few_gestures)


def test_what_is_missing_is_made_and_gives_the_same_bytes(few_gestures, tmp_path):
    shutil.copytree(few_gestures / FOLDER, tmp_path / FOLDER)
    lost = small_trials()[1].name
    for name in (f"{lost}.aedat", f"{lost}_labels.csv", "trials_to_test.txt"):
        (tmp_path / FOLDER / name).unlink()
    seen = []
    write_gestures(
        tmp_path / FOLDER,
        small_trials(),
        seed=0,
        processes=2,
        progress=lambda *done: seen.append(done),
    )
    assert seen == [(1, 2), (2, 2)]
    for path in (few_gestures / FOLDER).iterdir():
        assert (tmp_path / FOLDER / path.name).read_bytes() == path.read_bytes()


@pytest.fixture
def quickly(monkeypatch):
    """Recordings are made at once, and empty."""

    def write(folder, trial, seed):
        for name in (f"{trial.name}.aedat", f"{trial.name}_labels.csv"):
            (folder / name).write_text(str(seed))

    monkeypatch.setattr("nsm.data.simulated.gestures.files._write", write)


@pytest.mark.usefixtures("quickly")
def test_who_comes_while_they_are_made_waits(tmp_path):
    begun, go_on, seen = threading.Event(), threading.Event(), []

    def slowly(done, total):
        begun.set()
        assert go_on.wait(20)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(write_gestures, tmp_path, small_trials(), seed=0, progress=slowly)
        assert begun.wait(20)
        same = pool.submit(
            write_gestures, tmp_path, small_trials(), seed=0, progress=lambda *done: seen.append(done)
        )
        other = pool.submit(write_gestures, tmp_path, small_trials(), seed=1)
        with pytest.raises(TimeoutError):
            same.result(0.3)
        go_on.set()
        first.result()
        same.result()
        with pytest.raises(DataError, match="holds another simulation"):
            other.result()
    assert seen == [(2, 2)]


@pytest.mark.usefixtures("quickly")
def test_what_a_killed_process_left_does_not_block(tmp_path):
    (tmp_path / ".simulation.json.123-456.tmp").write_text("{")
    write_gestures(str(tmp_path), small_trials(), seed=0)
    assert (tmp_path / "trials_to_test.txt").is_file()


def test_other_files_are_left_alone(few_gestures, tmp_path):
    with pytest.raises(DataError, match=r"holds another simulation, see simulation\.json"):
        write_gestures(few_gestures / FOLDER, small_trials(), seed=1)
    (tmp_path / "user01_led.aedat").write_text("real")
    with pytest.raises(DataError, match="holds files that are not simulated"):
        write_gestures(tmp_path, small_trials(), seed=0)


def test_the_whole_set_has_the_official_users():
    whole = trials()
    assert len(whole) == len(set(whole)) == 116
    assert sum(trial.user > 23 for trial in whole) == 24
    assert {trial.lighting for trial in whole} == set(LIGHTINGS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate_gestures(30, "led", seed=0), r"user must be a whole number in \[1, 29\], got 30"),
        (lambda: simulate_gestures(True, "lab", seed=0), r"user must be a whole number .*, got True"),
        (lambda: simulate_gestures(1.0, "lab", seed=0), r"user must be a whole number .*, got 1\.0"),
        (lambda: simulate_gestures(1, "sun", seed=0), "lighting must be one of fluorescent, .*, got 'sun'"),
        (lambda: simulate_gestures(1, ["lab"], seed=0), r"lighting must be one of .*, got \['lab'\]"),
        (lambda: trials([0]), r"users\[0\] must be a whole number in \[1, 29\], got 0"),
        (lambda: trials([24, 1.0]), r"users\[1\] must be a whole number in \[1, 29\], got 1\.0"),
        (lambda: trials([]), "users must hold at least one number, got none"),
        (lambda: trials(lightings=6), r"lightings must be a whole number in \[1, 5\], got 6"),
        (lambda: trials(lightings=2.5), r"lightings must be a whole number .*, got 2\.5"),
        (lambda: trials(lightings=True), r"lightings must be a whole number .*, got True"),
    ],
)
def test_impossible_choices_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("processes", [0, -1, True, 1.0])
def test_no_processes_make_nothing(tmp_path, processes):
    with pytest.raises(ValueError, match="processes must be a whole number of at least 1, got"):
        write_gestures(tmp_path / "new", small_trials(), seed=0, processes=processes)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("trial", "message"),
    [
        (Trial(1, "x"), r"chosen\[1\]\.lighting must be one of fluorescent, .*, got 'x'"),
        (Trial(1.0, "lab"), r"chosen\[1\]\.user must be a whole number in \[1, 29\], got 1\.0"),
        ((1, "lab"), r"chosen\[1\] must be a Trial, got \(1, 'lab'\)"),
        (Trial(24, "led"), r"chosen\[1\] must differ .*, got Trial\(user=24, lighting='led'\) again"),
    ],
)
def test_impossible_trials_make_nothing(tmp_path, trial, message):
    with pytest.raises(ValueError, match=message):
        write_gestures(tmp_path / "new", [Trial(24, "led"), trial, Trial(2, "lab")], seed=0)
    assert not (tmp_path / "new").exists()


def test_both_parts_need_a_user(tmp_path):
    with pytest.raises(ValueError, match=r"users must have some of 1 to 23 and some of 24 to 29, got \[1\]"):
        write_gestures(tmp_path / "new", trials([1]), seed=0)
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("quickly")
def test_a_generator_as_seed_is_asked_once(tmp_path):
    write_gestures(tmp_path / "new", small_trials(), seed=torch.Generator().manual_seed(0))
    write_gestures(tmp_path / "new", small_trials(), seed=torch.Generator().manual_seed(0))
    seed = json.loads((tmp_path / "new" / "simulation.json").read_text())["seed"]
    written = [path.read_text() for path in (tmp_path / "new").glob("*.aedat")]
    assert written == 2 * [str(seed)]


def test_an_interruption_begins_no_further_recording(tmp_path, monkeypatch):
    begun = []

    def write(_folder, trial, _seed):
        begun.append(trial)
        time.sleep(0.01)

    def interrupt(done, _total):
        if done:
            raise KeyboardInterrupt

    monkeypatch.setattr(files, "ProcessPoolExecutor", lambda count, _context: ThreadPoolExecutor(count))
    monkeypatch.setattr(files, "_write", write)
    with pytest.raises(KeyboardInterrupt):
        write_gestures(tmp_path, trials(), seed=0, processes=2, progress=interrupt)
    assert len(begun) < len(trials()) / 2
