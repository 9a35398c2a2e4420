"""Fixtures shared by the whole suite."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder named by NSM_DATA; tests that ask for it are skipped where there is none."""
    folder = os.environ.get("NSM_DATA")
    if not folder:
        pytest.skip("NSM_DATA is not set: it names the folder that holds MNIST/raw")
    if not Path(folder).is_dir():
        pytest.skip(f"NSM_DATA names {folder}, which is not a folder")
    return Path(folder)
