"""Threads that help are there for everybody who asks: several callers at a time, and child processes."""

import functools
import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from nsm import native
from tests.engine.nets import compiled, images
from tests.native.cases import inputs

pytestmark = pytest.mark.skipif(native.active() != "native", reason="the C++ kernels are not installed")

CALLERS, THREADS, TURNS = 4, 3, 30


@functools.cache
def published():
    return compiled("published")


@pytest.fixture(autouse=True)
def several_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: THREADS)


def everything():
    """What a compiled network and an operator of training say."""
    case = inputs((8, 300, 96), "channel last")
    said = published().predict(images("published", 2), samples=263)
    return said.probabilities.numpy(), native.fire(*case).numpy()


def assert_same(found, expected):
    assert all((one == other).all() for one, other in zip(found, expected, strict=True))


def test_callers_do_not_disturb_each_other():
    expected = everything()
    with ThreadPoolExecutor(CALLERS) as callers:
        for found in callers.map(lambda _: everything(), range(CALLERS * TURNS)):
            assert_same(found, expected)


def test_a_child_process_has_helpers_of_its_own():
    # The parent's are not there, whether they are asleep or waiting.
    expected = everything()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        waiting = [pool.apply_async(everything) for _ in range(4)]
        for found in waiting:
            assert_same(found.get(timeout=60), expected)
    assert_same(everything(), expected)
