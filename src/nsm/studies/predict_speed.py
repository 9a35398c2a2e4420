"""What sampling a compiled network costs, beside its fastest rival and beside what the machine can do.

All sides of a comparison are measured in one process, in turn, several times; rates are those of the medians.
"""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nsm import models, native, nn, predict, provenance
from nsm.engine import Program, compile, count  # noqa: A004
from nsm.engine.steps import Pool
from nsm.studies import ceiling, practice, predictors
from nsm.studies.timing import counted, in_turn, on_threads, rest, row

STUDY = "speed-predict"
OURS = "program"


class Shape(NamedTuple):
    """A network that is timed.

    Attributes:
        widths: of a fully connected one.
        published: name of a published one, see :func:`nsm.models.build`.
        most: inputs in a call, at most: more of them take minutes.
        fresh: whether its weights are to stay as they were drawn.
    """

    widths: tuple[int, ...] = ()
    published: str = ""
    most: int = 2**20
    fresh: bool = False

    @property
    def image(self) -> tuple[int, int, int]:
        """(channels, height, width) of its inputs."""
        return models.ARCHITECTURES[self.published].image if self.published else practice.IMAGE

    @property
    def practises(self) -> bool:
        """Whether it learns the bundled digits first."""
        return self.image == practice.IMAGE and not self.fresh


PREDICTORS: dict[str, Shape] = {
    "mlp": Shape((784, 300, 300, 300, 10)),
    "mlp-fresh": Shape((784, 300, 300, 300, 10), fresh=True),
    "mlp1024": Shape((784, 1024, 1024, 1024, 10)),
    "mnist-cnn": Shape(published="mnist-cnn"),
    "allconv": Shape(published="cifar10-allconv", most=4, fresh=True),
}
_COMPILED, _BFLOAT16 = "torch.compile, dropout", "torch bf16, dropout"
_ONNX = {
    f"onnxruntime {'int8' if int8 else 'fp32'}{', first layer once' if hoisted else ''}": (hoisted, int8)
    for hoisted, int8 in itertools.product((False, True), repeat=2)
}
RIVALS = ("nsm.predict", "torch, dropout", _BFLOAT16, _COMPILED, *_ONNX)
_SLOW = 1.5  # a rival so many times slower than the fastest is measured once
_LEAST = 0.03  # seconds of a measurement: as many calls as that takes
_DECISIONS = 200  # in one turn


@dataclass(frozen=True, eq=False)
class Case:
    """A question to a program and to its rivals.

    Attributes:
        network: its name.
        x: the inputs of a call.
        samples: of each.
        threads: of all sides.
        practised: whether the network learned digits before.
        program: the compiled network.
        sides: what answers, by name, :data:`OURS` first.
        skipped: rivals that cannot run here, and why.
    """

    network: str
    x: Tensor
    samples: int
    threads: int
    practised: bool
    program: Program
    sides: dict[str, predictors.Predictor]
    skipped: dict[str, str]

    @property
    def title(self) -> str:
        """Its name in a result file."""
        threads = f"-threads-{self.threads}" if self.threads > 1 else ""
        return f"{self.network}-{len(self.x)}{threads}"

    def call(self, name: str, times: int = 1) -> Callable[[], None]:
        """One side's answer, some times in succession."""
        side = self.sides[name]

        def call() -> None:
            with on_threads(self.threads):
                for _ in range(times):
                    side(self.x)

        return call


def case(
    network: str,
    batch: int,
    *,
    shape: Shape | None = None,
    samples: int = 100,
    threads: int = 1,
    rivals: Iterable[str] = RIVALS,
) -> Case:
    """A network and its rivals.

    A network that has learned something is surer of its neurons than one with fresh weights, and faster for
    it: unless its shape is to be fresh, it has practised on the bundled digits. What takes images of 28 x 28
    pixels is asked about digits, what takes others about noise. No rival's speed depends on its weights.

    Args:
        network: its name.
        batch: inputs of a call.
        shape: None for that in :data:`PREDICTORS`.
        samples: Monte Carlo samples of each input.
        threads: of all sides.
        rivals: of :data:`RIVALS`.
    """
    shape = shape or PREDICTORS[network]
    net, twin = _pair(shape)
    if shape.image == practice.IMAGE:
        x, _ = practice.digits(batch)
    else:
        x = torch.rand(batch, *shape.image, generator=torch.Generator().manual_seed(0))
    program = compile(net, image=shape.image)
    sides: dict[str, predictors.Predictor] = {OURS: lambda x: program.predict(x, samples=samples, seed=0)}
    skipped: dict[str, str] = {}
    with on_threads(threads):
        for name in rivals:
            try:
                sides[name] = _rival(name, net, twin, x, samples, threads)
            except predictors.UnavailableError as error:
                skipped[name] = str(error)
    return Case(network, x, samples, threads, shape.practises, program, sides, skipped)


def rows(
    networks: Sequence[str] = tuple(PREDICTORS),
    *,
    batches: Sequence[int] = (1, 256),
    threads: Sequence[int] = (1,),
    repeats: int = 7,
    samples: int = 100,
    progress: Callable[[int, int], object] | None = None,
) -> list[dict[str, Any]]:
    """Samples per second of a compiled network over those of the fastest of its rivals.

    Rivals are Monte Carlo dropout of the conventional twin in plain torch (also in bfloat16, where the
    processor multiplies it), by ``torch.compile`` and in onnxruntime (float32 and int8, as exported and with
    the first layer computed once), and the network itself in :func:`nsm.predict`. Those far behind in a first
    round are left out of the others.

    Args:
        networks: of :data:`PREDICTORS`, see :func:`case`.
        batches: numbers of inputs in a call; fewer for a network that takes too long.
        threads: numbers of threads, of all sides alike.
        repeats: measurements of each side, >= 1.
        samples: Monte Carlo samples of each input.
        progress: called with the number of rounds of measurements done and of all.

    Returns:
        Rows as :func:`measured` gives them; for ``mlp`` and a batch of 1 also how long one decision takes.

    Raises:
        ValueError: if a network is unknown.
        ModuleNotFoundError: if onnx or onnxruntime is not installed.
    """
    for network in networks:
        if network not in PREDICTORS:
            raise ValueError(f"network must be one of {', '.join(PREDICTORS)}, got {network!r}")
    found = []
    asked_for = [
        (used, network, batch)
        for used, network in itertools.product(threads, networks)
        for batch in dict.fromkeys(min(batch, PREDICTORS[network].most) for batch in batches)
    ]
    after_round = counted(progress, len(asked_for) * rounds(repeats))
    for used, network, batch in asked_for:
        asked = case(network, batch, samples=samples, threads=used)
        found += measured([asked], repeats, after_round)
        if (network, batch) == ("mlp", 1):
            found.append(_decision(asked, found[-1]["rival"], repeats))
    return found


def rounds(repeats: int) -> int:
    """How many :func:`measured` takes: two that find who is far behind, one to warm up, those that count."""
    return repeats + 3


def measured(
    cases: Sequence[Case], repeats: int, after_round: Callable[[], object] | None = None
) -> list[dict[str, Any]]:
    """One row for each case, all sides of all of them measured in turn.

    A row has the rates in samples per second (``all``), of them the program's (``ours``) and the fastest
    rival's, and the machine's limits, measured in the same turns: ``ceiling`` is the rate at which a program
    would run if it did nothing but the multiply-adds of its sampled layers at the instructions' own peak
    (``multiply_adds_per_second``, all threads together), ``share`` what part of it was reached. Lookups can
    go beyond what multiplications can. ``memory_share`` is the part of the memory's bandwidth
    (``memory_bytes_per_second``, a copy) that it takes to read weights and inputs once for every call.
    ``after_round`` is called behind each of :func:`rounds`.
    """
    sides = [(number, name) for number, asked in enumerate(cases) for name in asked.sides]
    rested = any(asked.threads > 1 for asked in cases)
    once = in_turn([cases[number].call(name) for number, name in sides], 1, after_round, rested=rested)
    seconds = [dict[str, float]() for _ in cases]
    for (number, name), taken in zip(sides, once, strict=True):
        seconds[number][name] = taken
    kept = [
        (number, name, math.ceil(_LEAST / seconds[number][name]))
        for number, name in sides
        if name == OURS or seconds[number][name] < _SLOW * min(_without_ours(seconds[number]).values())
    ]
    limits = [limit for used in sorted({asked.threads for asked in cases}) for limit in _limits(used)]
    calls = [cases[number].call(name, times) for number, name, times in kept]
    medians = in_turn([*calls, *(limit.call for limit in limits)], repeats, after_round, rested=rested)
    for (number, name, times), taken in zip(kept, medians, strict=False):
        seconds[number][name] = taken / times
    rates = [limit.amount / taken for limit, taken in zip(limits, medians[len(kept) :], strict=True)]
    found = []
    for asked, taken_by in zip(cases, seconds, strict=True):
        of_machine = {
            limit.name: rate
            for limit, rate in zip(limits, rates, strict=True)
            if limit.threads == asked.threads
        }
        found.append(_row(asked, taken_by, of_machine) | {"repeats": repeats})
    return found


def _without_ours(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if name != OURS}


class _Limit(NamedTuple):
    """What the machine can do at most with some number of threads: what to time, and how much it does."""

    threads: int
    name: str
    call: Callable[[], None]
    amount: int


def _limits(threads: int) -> list[_Limit]:
    product, (copy, moved) = ceiling.product(threads), ceiling.copy()

    def copied() -> None:
        with on_threads(threads):
            copy()

    found = [_Limit(threads, "memory_bytes_per_second", copied, moved)]
    return found if product is None else [*found, _Limit(threads, "multiply_adds_per_second", *product)]


def _row(asked: Case, seconds: dict[str, float], limits: dict[str, float]) -> dict[str, Any]:
    batch = len(asked.x)
    rates = {name: batch * asked.samples / taken for name, taken in seconds.items()}
    theirs = _without_ours(rates)
    rival = max(theirs, key=theirs.__getitem__)
    operations = count(asked.program)
    read = asked.x.nbytes + sum(
        step.weights.nbytes for step in asked.program.steps if not isinstance(step, Pool)
    )
    described = {
        **row(asked.title, rival, (rates[OURS], rates[rival]), unit="samples/s"),
        "network": asked.network,
        "batch": batch,
        "samples": asked.samples,
        "threads": asked.threads,
        "microseconds": 1e6 * seconds[OURS],
        "kernels": native.instruction_set(),
        "practised": asked.practised,
        "all": rates,
        "skipped": asked.skipped,
        **limits,
        "memory_share": read / seconds[OURS] / limits["memory_bytes_per_second"],
    }
    if "multiply_adds_per_second" in limits:
        each = operations.additions + operations.multiplications
        most = limits["multiply_adds_per_second"] / each
        described |= {"multiply_adds_per_sample": each, "ceiling": most, "share": rates[OURS] / most}
    return described


def _decision(asked: Case, rival: str, repeats: int) -> dict[str, Any]:
    """How long one call takes as Python sees it, each timed by itself."""
    taken: dict[str, list[float]] = {OURS: [], rival: []}
    with on_threads(asked.threads):
        for turn in range(repeats + 1):
            for name, times in taken.items():
                if asked.threads > 1:
                    rest()
                for _ in range(_DECISIONS):
                    started = time.perf_counter()
                    asked.sides[name](asked.x)
                    if turn:
                        times.append(time.perf_counter() - started)
    percentiles = {name: quantiles(times, n=100) for name, times in taken.items()}
    middle = {name: values[49] for name, values in percentiles.items()}
    return {
        **row("decision", rival, (1.0 / middle[OURS], 1.0 / middle[rival]), unit="decisions/s"),
        "name": "decision" + asked.title.removeprefix(f"{asked.network}-1"),
        "network": asked.network,
        "batch": 1,
        "samples": asked.samples,
        "threads": asked.threads,
        "repeats": repeats,
        "kernels": native.instruction_set(),
        "microseconds": 1e6 * middle[OURS],
        "microseconds_95": 1e6 * percentiles[OURS][94],
        "rival_microseconds": 1e6 * middle[rival],
    }


def _rival(
    name: str, net: torch.nn.Module, twin: torch.nn.Sequential, x: Tensor, samples: int, threads: int
) -> predictors.Predictor:
    if name == "nsm.predict":
        return lambda x: predict(net, x, samples=samples, seed=0)
    if name in _ONNX:
        hoisted, int8 = _ONNX[name]
        return predictors.onnx_twin(twin, x, samples, hoisted=hoisted, int8=int8, threads=threads)
    if name == _COMPILED:
        return predictors.compiled_twin(twin, x, samples)
    if name == _BFLOAT16:
        if not any("bf16" in name for name in provenance.machine()["instruction_sets"]):
            raise predictors.UnavailableError("this processor does not multiply bfloat16")
        return predictors.torch_twin(twin, x, samples, precision=torch.bfloat16)
    return predictors.torch_twin(twin, x, samples)


@functools.cache
def _pair(shape: Shape) -> tuple[torch.nn.Sequential, torch.nn.Sequential]:
    """A sampling network and its conventional twin with dropout, both of which are to be left as they are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ours, twin = _published(shape.published) if shape.published else _fully_connected(shape.widths)
        if shape.practises:
            practice.practise(ours)
    return ours.eval(), twin


def _published(name: str) -> tuple[torch.nn.Sequential, torch.nn.Sequential]:
    return models.build(name), torch.nn.Sequential(*models.build(name, model="twin-dropout"))


def _fully_connected(widths: Sequence[int]) -> tuple[torch.nn.Sequential, torch.nn.Sequential]:
    ours: list[torch.nn.Module] = [torch.nn.Flatten()]
    theirs: list[torch.nn.Module] = [torch.nn.Flatten()]
    for i, (before, after) in enumerate(itertools.pairwise(widths[:-1])):
        ours.append(nn.Linear(before, after, binary_input=i > 0))
        theirs += [torch.nn.Linear(before, after), torch.nn.ReLU(), torch.nn.Dropout(0.3)]
    for modules in (ours, theirs):
        modules.append(torch.nn.Linear(widths[-2], widths[-1]))
    return torch.nn.Sequential(*ours), torch.nn.Sequential(*theirs)
