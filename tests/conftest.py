"""Fixtures shared by the whole suite."""

import os
from pathlib import Path

import pytest

# Before torch is imported, here and in processes that tests start: what the suite computes is small, and a
# second thread would spend its time waiting. Tests of several threads ask for them.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """What a test draws without a seed does not depend on the tests that its process ran before."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder named by NSM_DATA; tests that ask for it are skipped where there is none."""
    folder = os.environ.get("NSM_DATA")
    if not folder:
        pytest.skip("NSM_DATA is not set: it names the folder that holds MNIST/raw")
    if not Path(folder).is_dir():
        pytest.skip(f"NSM_DATA names {folder}, which is not a folder")
    return Path(folder)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder for what takes seconds to simulate: one for all processes of the suite."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def few_gestures(shared_folder: Path) -> Path:
    """A data folder that holds the small set of simulated gestures."""
    from nsm.data.simulated.gestures import FOLDER, small_trials, write_gestures

    write_gestures(shared_folder / FOLDER, small_trials(), seed=0)
    return shared_folder


@pytest.fixture
def fresh_compiler() -> None:
    """For tests of ``torch.compile``, which reasons about sizes where others have compiled before."""
    import torch

    torch.compiler.reset()
