"""Run by test_resume.py in a process of its own: trains, killing the trainer again and again.

Arguments: folder, seed of the moments. Prints the step of the checkpoint that each kill left.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import lightning_fabric  # noqa: F401 (imported before the forks, for speed)
import safetensors
import torch

from nsm.training import train
from nsm.training.checkpoint import CHECKPOINT_FILE
from tests.training.configs import digits

CONFIG = digits(epochs=15, averaging=0.97, checkpoint_steps=1, draws=2)
KILLS = 6


def start(folder: Path) -> int:
    child = os.fork()
    if child == 0:
        train(CONFIG, folder, quiet=True, resume=True)
        os._exit(0)
    return child


def step_of(folder: Path) -> int:
    with safetensors.safe_open(folder / CHECKPOINT_FILE, framework="pt") as file:
        return json.loads(file.metadata()["state"])["progress"]["step"]


def main(folder: Path, seed: int) -> None:
    torch.set_num_threads(1)  # no pool of threads before the forks
    moments = random.Random(seed)
    checkpoint = folder / CHECKPOINT_FILE
    for _ in range(KILLS):
        child = start(folder)
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
            time.sleep(0.001)
        time.sleep(moments.uniform(0.0, 0.1))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the run was over before it was killed"
        sys.stdout.write(f"{step_of(folder)}\n")
    _, status = os.waitpid(start(folder), 0)
    assert status == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
