import json
import math
import shutil

import pytest
import safetensors.torch
import torch

from nsm.training import CheckpointError, train
from nsm.training.checkpoint import CHECKPOINT_FILE, Progress, load_checkpoint, save_checkpoint
from nsm.training.metrics import EpochMetrics
from tests.training.configs import digits

CONFIG = digits()
TENSORS = {"net.w": torch.tensor([[1.0, 2.0]]), "optimizer.w.step": torch.tensor(3.0)}
ROW = EpochMetrics(1, 12, 0.1 + 0.2, 1.5, None, None, 1e-3, 0.25)


def blank():
    return {name: torch.zeros_like(value) for name, value in TENSORS.items()}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / CHECKPOINT_FILE
    save_checkpoint(path, TENSORS, Progress(15, 1 / 3, 7, 0.5, [ROW]), CONFIG)
    return path


def rewrite(path, tensors=TENSORS, **changes):
    """The same checkpoint with parts of its state replaced."""
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    state = json.loads(metadata["state"])
    for key, value in changes.items():
        place, _, name = key.partition("__")
        (state[place] if name else state)[name or place] = value
    safetensors.torch.save_file(tensors, path, {**metadata, "state": json.dumps(state)})


def test_what_is_saved_is_loaded_to_the_last_bit(path):
    tensors = blank()
    assert load_checkpoint(path, tensors, CONFIG) == Progress(15, 1 / 3, 7, 0.5, [ROW])
    assert all(torch.equal(tensors[name], value) for name, value in TENSORS.items())


def test_memory_format_is_kept(tmp_path):
    value = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    save_checkpoint(tmp_path / "c", {"w": value}, Progress(1), CONFIG)
    target = {"w": torch.zeros_like(value)}
    load_checkpoint(tmp_path / "c", target, CONFIG)
    assert torch.equal(target["w"], value)
    assert target["w"].stride() == value.stride()


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"net.w": TENSORS["net.w"]}, r"missing \['optimizer.w.step'\]"),
        ({**TENSORS, "net.v": torch.ones(1)}, r"not expected \['net.v'\]"),
        ({**TENSORS, "net.w": torch.ones(2, 1)}, r"net.w has shape torch.Size\(\[2, 1\]\)"),
        ({**TENSORS, "net.w": torch.ones(1, 2).double()}, "net.w has dtype torch.float64"),
        ({**TENSORS, "net.w": torch.tensor([[1.0, torch.nan]])}, "net.w holds values that are not finite"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_and_nothing_is_changed(path, tensors, message):
    rewrite(path, tensors)
    target = blank()
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path, target, CONFIG)
    assert not any(value.any() for value in target.values())


@pytest.mark.parametrize(
    "change",
    [
        {"progress": None},
        {"progress": {}},
        {"progress__step": 0},
        {"progress__step": "many"},
        {"progress__rows": [[1, 2, 3]]},
        {"progress__rows": 3},
        {"progress__rows": [["x"] * 8]},
        {"progress__rows": [[2, *ROW[1:]]]},
        {"progress__rows": [[*ROW[:7], math.inf]]},
        {"progress__step": "15"},
        {"progress__step": math.inf},
        {"progress__loss": 10**400},
        {"config": None},
        {"config": {"network": {"name": "resnet"}}},
    ],
    ids=str,
)
def test_a_damaged_state_is_refused(path, change):
    rewrite(path, **change)
    with pytest.raises(CheckpointError, match="its state cannot be read"):
        load_checkpoint(path, blank(), CONFIG)


def test_another_configuration_is_refused(path):
    with pytest.raises(CheckpointError, match=r"training.lr is 0.002 in the file and 0.1 here"):
        load_checkpoint(path, blank(), digits(lr=0.1))


def test_other_versions_are_said(path):
    rewrite(path, versions={"torch": "1.0"})
    with pytest.warns(UserWarning, match="may differ in its last bits"):
        load_checkpoint(path, blank(), CONFIG)


def test_files_that_are_no_checkpoints_are_refused(path, tmp_path):
    whole = path.read_bytes()
    for content in (b"", whole[:40], whole[:-3], b"\xff" * 64, whole + b"x"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="not a valid safetensors file"):
            load_checkpoint(path, blank(), CONFIG)
    safetensors.torch.save_file(TENSORS, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of format nsm-checkpoint-1"):
        load_checkpoint(path, blank(), CONFIG)
    with path.open("wb") as file:
        file.truncate(2**27)
    with pytest.raises(CheckpointError, match="larger than"):
        load_checkpoint(path, blank(), CONFIG)
    with pytest.raises(CheckpointError, match=r"cannot be read \(No such file or directory\)"):
        load_checkpoint(tmp_path / "none", blank(), CONFIG)
    with pytest.raises(CheckpointError, match=r"cannot be read \(Is a directory\)"):
        load_checkpoint(tmp_path, blank(), CONFIG)


def test_a_step_that_does_not_fit_the_images_is_refused(tmp_path):
    folder = tmp_path / "run"
    train(CONFIG, folder, quiet=True)
    rewrite(
        folder / CHECKPOINT_FILE, safetensors.torch.load_file(folder / CHECKPOINT_FILE), progress__step=23
    )
    with pytest.raises(CheckpointError, match="step 23 after 2 epochs does not fit 12 steps per epoch"):
        train(CONFIG, folder, quiet=True, resume=True)
    shutil.rmtree(folder)
