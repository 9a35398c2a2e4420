import os
import subprocess
import sys
from pathlib import Path

import safetensors.torch
import torch

from nsm.training import train
from tests.training import shared
from tests.training.test_resume import metrics_without_time

ROOT = Path(__file__).parents[2]


def test_two_processes_reach_the_weights_of_one(tmp_path):
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
    ]
    result = subprocess.run(
        [*command, "-m", "tests.training.shared", tmp_path / "two"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    train(shared.CONFIG, tmp_path / "one", quiet=True)
    one, two = (safetensors.torch.load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=1e-4)
    ours, theirs = (metrics_without_time(tmp_path / name) for name in ("one", "two"))
    for left, right in zip(ours[1:], theirs[1:], strict=True):
        torch.testing.assert_close(
            torch.tensor([float(cell) for cell in left]), torch.tensor([float(cell) for cell in right])
        )
