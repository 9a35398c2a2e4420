"""Run by test_runs.py in a process of its own: a study of one long run in the folder of the argument."""

import sys
from pathlib import Path
from typing import Any

from nsm.data import Splits
from nsm.models import Network
from nsm.studies import runs
from tests.training.configs import digits


def score(job: runs.Job, net: Network, splits: Splits) -> dict[str, Any]:
    return {}


if __name__ == "__main__":
    job = runs.Job("nsm", digits(epochs=100_000, checkpoint_minutes=None), Path(sys.argv[1]))
    list(runs.rows([job], runs.Scoring(score), processes=1, root=None))
