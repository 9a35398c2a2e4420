"""Small recordings, and folders of them as the releases lay them out."""

import numpy as np

from nsm.data import events as ev


def random_events(n=200, sensor_size=(34, 34, 2), seed=0, last=300_000):
    rng = np.random.default_rng(seed)
    width, height, _ = sensor_size
    t = np.sort(rng.integers(0, last + 1, n))
    return ev.make(rng.integers(0, width, n), rng.integers(0, height, n), t, rng.integers(0, 2, n))


def lay_out_nmnist(root, per_digit=(3, 1)):
    """Recordings by split, digit and number."""
    written = {}
    for split, count in zip(("Train", "Test"), per_digit, strict=True):
        for digit in range(10):
            folder = root / "NMNIST" / split / str(digit)
            folder.mkdir(parents=True)
            for number in range(count):
                events = random_events(seed=100 * digit + number)
                path = folder / f"{7 * number + digit:05d}.bin"
                ev.write_nmnist(path, events)
                written[path] = events
    return written


TRIALS = {"train": ("user01_fluorescent", "user23_led"), "test": ("user24_fluorescent_led", "user29_lab")}


def lay_out_gestures(root, classes=range(11), seconds=2.0, events=4000):
    """The official release in small: gestures one after the other, the recording's clock starts at 5 s."""
    folder = root / "DvsGesture"
    folder.mkdir(parents=True)
    span = int(seconds * 1e6)
    for split, names in TRIALS.items():
        (folder / f"trials_to_{split}.txt").write_text("".join(f"{name}.aedat\n" for name in names))
        for seed, name in enumerate(names):
            recorded = random_events(events, (128, 128, 2), seed, span * len(classes))
            recorded["t"] += 5_000_000
            ev.write_aedat(folder / f"{name}.aedat", recorded)
            labels = [
                ev.Label(target, 5_000_000 + i * span, 5_000_000 + (i + 1) * span)
                for i, target in enumerate(classes)
            ]
            ev.write_labels(folder / f"{name}_labels.csv", labels)
    return folder
