"""Training what a study compares: every run once, several at a time, each scored once on the test set."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import BaseContext
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, TypeVar

from nsm.data import Splits
from nsm.files import write_atomically
from nsm.models import Network
from nsm.models.files import WEIGHTS_FILE
from nsm.studies.results import Row, read_json
from nsm.training import Config, Watch, read_recipe
from nsm.training.signals import stopping

SCORES_FILE = "scores.json"
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Job:
    """One run of a study.

    Attributes:
        label: what the study calls this kind of network, such as ``"bnsm"``.
        config: the whole description of the run.
        folder: its run folder; a run that was interrupted there is continued.
        watch: looks at the network after each epoch, see :func:`nsm.training.train`; a function of a module.
    """

    label: str
    config: Config
    folder: Path
    watch: Watch | None = None


def missing(wanted: Sequence[Job]) -> list[Job]:
    """The jobs that are not trained yet."""
    return [job for job in wanted if not (job.folder / WEIGHTS_FILE).is_file()]


@dataclass(frozen=True)
class Scoring:
    """How a study scores its runs.

    Attributes:
        score: from a job, its trained network and the images to the scores of its row; a function of a
            module.
        asked: what the scores depend on beside the run, such as the number of samples, for JSON: a run whose
            folder holds the scores of another question is scored anew.
    """

    score: Callable[[Job, Network, Splits], Mapping[str, Any]]
    asked: Mapping[str, Any] = field(default_factory=dict)


def rows(jobs: Sequence[Job], scoring: Scoring, *, processes: int, root: Path | None) -> Iterator[Row]:
    """The result row of each job, in the order in which they finish.

    A job whose folder holds its scores is not scored again: the test set is read once for each number. Such
    rows come first, at once. A job that starts from another one's run (``training.start``) waits until all
    that do not are over. All other runs end at their next step with a checkpoint on Ctrl-C, or when this
    process is killed; after an error the others are finished, and no new one is begun.

    Args:
        jobs: the runs.
        scoring: what is measured of each.
        processes: runs at a time, >= 1; they share the processor's cores, or ``OMP_NUM_THREADS`` of them.
        root: data folder, see :func:`nsm.data.load`.
    """
    begun: list[Job] = []
    for job in jobs:
        known = _known(job, scoring)
        if known is None:
            begun.append(job)
        else:
            yield known
    folders = {str(job.folder) for job in jobs}
    waiting = [job for job in begun if job.config.training.start in folders]
    for stage in ([job for job in begun if job not in waiting], waiting):
        if not stage:
            continue
        with _workers(processes) as pool:
            futures = [pool.submit(_run_unless_ended, job, scoring, root) for job in stage]
            for future in as_completed(futures):
                yield future.result()


def mapped(task: Callable[..., _Found], *arguments: Iterable[Any], processes: int) -> Iterator[_Found]:
    """What ``task``, a function of a module, finds for each of the arguments, in their order.

    Args:
        task: called as by ``map``.
        arguments: an iterable for each parameter of the task.
        processes: tasks at a time, >= 1; a single one in this process.
    """
    if processes == 1:
        yield from map(task, *arguments)
        return
    with _workers(processes) as pool:
        yield from pool.map(task, *arguments)


@contextmanager
def _workers(processes: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes that share the processor's cores, or ``OMP_NUM_THREADS`` of them, for the tasks of
    a study. After an error in the block what is running is finished, and no new task is begun.

    Raises:
        ChildProcessError: if one of the processes is killed; the others end at their next step.
    """
    threads = max(1, _cores() // processes)
    context = _context()
    ended = context.Event()
    prepared = (threads, ended, dict(os.environ))
    with ProcessPoolExecutor(processes, context, _prepare_process, prepared) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            raise ChildProcessError(
                "a process of the study was killed, as by a system without memory, or could not start, as in "
                'a script without if __name__ == "__main__"; what is trained so far is kept: repeat to go on '
                "from there, with fewer processes if memory was short"
            ) from error
        except BaseException:
            ended.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _context() -> BaseContext:
    """How processes start: on Linux as copies of one that has imported what training takes six seconds to
    import, and has done nothing else; elsewhere, where libraries may not bear to be copied, anew.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nsm.training", "lightning_fabric"])
    return context


def _cores() -> int:
    """Cores that this process may use, or the threads that ``OMP_NUM_THREADS`` asks for at the outermost
    level of its list.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if not asked:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not asked.isdecimal() or int(asked) < 1:
        raise ValueError(f"OMP_NUM_THREADS must be a number of threads >= 1, got {asked!r}")
    return int(asked)


def _known(job: Job, scoring: Scoring) -> Row | None:
    """The row of a job that is trained and scored like this; None of any other, and of one whose folder holds
    another run, which training refuses.
    """
    path = job.folder / SCORES_FILE
    if missing([job]) or not path.is_file() or read_recipe(job.folder).to_dict() != job.config.to_dict():
        return None
    kept = read_json(path)
    if kept.get("asked") != json.loads(json.dumps(scoring.asked)):
        return None
    row: Row = kept["row"]
    return row


_ended: Event | None = None


def _prepare_process(threads: int, ended: Event, environment: Mapping[str, str]) -> None:
    global _ended  # noqa: PLW0603 (once in each process of the pool)
    _ended = ended
    # A copy has the environment in which its program's first study began.
    os.environ.clear()
    os.environ.update(environment)
    import torch

    from nsm.training.memory import keep_freed_memory

    keep_freed_memory()

    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ask the run of this process to end once the study's own process is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    # Whoever ends a whole job has asked the run as well: a second signal would end it before its checkpoint.
    if not stopping():
        os.kill(os.getpid(), signal.SIGTERM)


def _run_unless_ended(job: Job, scoring: Scoring, root: Path | None) -> dict[str, Any]:
    # The pool hands a process its next job before this one is over: that cannot be cancelled, but refused.
    assert _ended is not None
    if _ended.is_set():
        raise InterruptedError(f"{job.folder}: not begun, since another run ended the study")
    try:
        return _run(job, scoring, root)
    except BaseException:
        _ended.set()
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            os._exit(1)  # the pool would wait for its next job forever
        raise


def _run(job: Job, scoring: Scoring, root: Path | None) -> dict[str, Any]:
    """Train and score one job."""
    from nsm.training import load_splits, train

    result = train(job.config, job.folder, root=root, resume=True, quiet=True, watch=job.watch)
    splits = load_splits(job.config, root)
    training, last = job.config.training, result.metrics[-1]
    row = {
        "network": job.config.network.name,
        "model": job.label,
        "seed": training.seed,
        "epochs": training.epochs,
        **scoring.score(job, result.net, splits),
        "train_loss": last.train_loss,
        "train_error_percent": last.train_error_percent,
        "seconds": sum(epoch.seconds for epoch in result.metrics),
    }
    kept = {"asked": scoring.asked, "row": row}
    write_atomically(job.folder / SCORES_FILE, (json.dumps(kept, indent=1) + "\n").encode())
    return row
