"""The page, served once for all tests and open in one browser."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cli.conftest import nsm, run, trained

__all__ = ["nsm", "run", "trained"]


@pytest.fixture(scope="session")
def programs() -> tuple[str, str]:
    """Paths of Chromium and of its driver; tests that need them are skipped where one is missing."""
    for module, extra in (("gradio", "demo"), ("selenium", "dev")):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: it comes with the extra {extra!r}")
    found = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in found:
        pytest.skip("no browser: install chromium and chromedriver (Debian: chromium, chromium-driver)")
    return str(found[0]), str(found[1])


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="session")
def recorded(folder: Path) -> Path:
    """A run folder of a network for recordings that has learnt nothing, which would take longer."""
    from nsm import models, training
    from nsm.files import write_atomically

    run = folder / "recorded"
    torch.manual_seed(0)
    models.save(models.build("nmnist-cnn"), run)
    config = models.files.read_config(run) | {"recipe": training.load_recipe("nmnist-cnn").to_dict()}
    write_atomically(run / "config.json", json.dumps(config).encode())
    return run


@pytest.fixture(scope="session")
def address(programs: tuple[str, str], folder: Path, recorded: Path) -> Iterator[str]:
    from tests.demo.browser import serving

    with serving(folder, str(recorded)) as url:
        yield url


@pytest.fixture(scope="session")
def browser(programs: tuple[str, str], address: str) -> Iterator[Any]:
    from tests.demo.browser import Browser

    browser = Browser(*programs)
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture
def page(browser: Any, address: str) -> Any:
    """The browser with the page freshly open."""
    browser.open(address)
    return browser
