"""Threads that help are there for everybody who asks: several callers at a time, and child processes."""

import contextlib
import functools
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn

import nsm
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


def cores_of_threads():
    """Where each thread of this process may run."""
    found = {}
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            found[int(thread.name)] = os.sched_getaffinity(int(thread.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="no threads' cores to look at")
def test_threads_that_slept_may_go_where_the_caller_may():
    allowed, before = os.sched_getaffinity(0), cores_of_threads()
    for samples in (263, 263, 4, 263):
        published().predict(images("published", 1), samples=samples)
        time.sleep(0.01)  # till they sleep
    after = cores_of_threads()
    assert all(cores == before.get(thread, allowed) for thread, cores in after.items())


def test_a_child_process_has_helpers_of_its_own():
    # The parent's are not there, whether they are asleep or waiting.
    expected = everything()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        waiting = [pool.apply_async(everything) for _ in range(4)]
        for found in waiting:
            assert_same(found.get(timeout=60), expected)
    assert_same(everything(), expected)


FORKS = """
import os, torch
from nsm import native

torch.set_num_threads(2)
(torch.rand(4_000_000) + 1).sum()
# Beforehand: in the child torch itself would wait.
u, row = torch.zeros(8, 300, 96), torch.zeros(1, 96)
seed, rows = torch.tensor(0), torch.zeros(8, 2, dtype=torch.int64)
child = os.fork()
if not child:
    native.fire(u, row, row, seed, rows, 0)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes to fork")
def test_a_child_process_does_not_wait_for_threads_that_only_torch_had():
    # In a process group of its own, to end the child too.
    process = subprocess.Popen([sys.executable, "-c", FORKS], start_new_session=True)
    try:
        assert process.wait(timeout=60) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def without_memory(results):
    """Put what becomes of a call for whose helpers there is no memory."""
    program = nsm.compile(wide(), image=(8, 192, 192))
    x = torch.rand(2, 8, 192, 192)
    torch.set_num_threads(1)
    program.predict(x[:1], samples=4)  # keeps the 140 MB that one thread needs
    torch.set_num_threads(THREADS)
    everything()  # helpers are there
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    room = pages * os.sysconf("SC_PAGE_SIZE") + 2**21
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    try:
        program.predict(x, samples=32)
    except MemoryError:
        results.put("MemoryError")
    else:
        results.put("no error")


def wide():
    torch.manual_seed(0)
    return nn.Sequential(
        nsm.nn.Conv2d(8, 64, 3), nsm.nn.Conv2d(64, 64, 3), nn.MaxPool2d(188), nn.Flatten(), nn.Linear(64, 2)
    )


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer needs memory itself")
def test_a_thread_without_memory_fails_as_its_caller():
    # In a helper an exception would end the process.
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    process = context.Process(target=without_memory, args=(results,))
    process.start()
    process.join(timeout=120)
    assert process.exitcode == 0
    assert results.get() == "MemoryError"
