"""Run by test_processes.py under torchrun: one process of a run. Argument: folder."""

import sys

import torch

from nsm.training import train
from tests.training.configs import digits

# 1,137 images leave one for the last batch: the second process stands idle there.
CONFIG = digits(batch_size=71, averaging=0.9, optimizer="sgd", schedule="constant", lr=0.05, draws=2)

if __name__ == "__main__":
    torch.set_num_threads(1)
    train(CONFIG, sys.argv[1])
