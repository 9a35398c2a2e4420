"""Fixtures of the kernels' tests."""

import pytest

from nsm import native
from nsm.native import paths


@pytest.fixture(params=paths.instruction_sets() if native.active() == "native" else ["none"])
def instruction_set(request, monkeypatch):
    # Not by NSM_KERNELS, which some tests set themselves.
    monkeypatch.setattr(paths, "instruction_sets", lambda: (request.param,))
    return request.param
