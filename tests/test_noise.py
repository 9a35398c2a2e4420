"""Noise laws: refusal of the impossible, value semantics, serialisation. Their distributions are in
statistical/."""

import dataclasses
import json
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

import nsm
from nsm.noise import NoiseLaw, from_dict

LAWS: list[NoiseLaw] = [nsm.Bernoulli(0.3), nsm.Gaussian(0.7), nsm.Measured([0.2, 1.0, 1.0, 2.4])]


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_laws_survive_json(law: NoiseLaw) -> None:
    again = from_dict(json.loads(json.dumps(law.to_dict())))
    assert again == law
    assert hash(again) == hash(law)
    assert again is not law


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_laws_are_immutable(law: NoiseLaw) -> None:
    field = dataclasses.fields(law)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(law, field, 0.5)


def test_moments_by_closed_form() -> None:
    assert (nsm.Bernoulli(0.25).mean, nsm.Bernoulli(0.25).variance) == (0.25, 0.1875)
    assert (nsm.Gaussian(0.5).mean, nsm.Gaussian(0.5).variance) == (1.0, 0.25)
    table = nsm.Measured([1.0, 2.0, 3.0, 6.0])
    assert (table.mean, table.variance) == (3.0, 3.5)


def test_laws_differ_by_value() -> None:
    assert nsm.Bernoulli(0.3) != nsm.Bernoulli(0.31)
    assert nsm.Bernoulli(0.5) != nsm.Gaussian(0.5)
    assert nsm.Measured([2.0, 1.0]) == nsm.Measured(torch.tensor([1.0, 2.0]))


def test_representations_are_readable() -> None:
    assert repr(nsm.Bernoulli(0.5)) == "Bernoulli(p=0.5)"
    assert repr(nsm.Gaussian(1)) == "Gaussian(std=1.0)"
    assert repr(nsm.Measured([1.0, 3.0])) == "Measured(2 samples, mean=2, std=1)"


def test_numbers_of_numpy_are_numbers() -> None:
    assert nsm.Bernoulli(np.float32(0.5)) == nsm.Bernoulli(0.5)
    assert nsm.Measured(np.array([0.5, 1.5], dtype=np.float32)) == nsm.Measured([0.5, 1.5])


@pytest.mark.parametrize("p", [0.0, 1.0, -0.1, 1.1, math.nan, math.inf, "0.5", True, None])
def test_impossible_probabilities_are_refused(p: object) -> None:
    with pytest.raises(ValueError, match="p must be"):
        nsm.Bernoulli(p)  # type: ignore[arg-type]


@pytest.mark.parametrize("std", [0.0, -1.0, math.nan, math.inf, "1"])
def test_impossible_deviations_are_refused(std: object) -> None:
    with pytest.raises(ValueError, match="std must be"):
        nsm.Gaussian(std)  # type: ignore[arg-type]


@pytest.mark.parametrize("table", [[], [1.0], [2.0, 2.0], [1.0, math.nan], [1.0, -math.inf], [1.0, "2"]])
def test_impossible_tables_are_refused(table: list[float]) -> None:
    with pytest.raises(ValueError, match="samples"):
        nsm.Measured(table)


@pytest.mark.parametrize(
    "description",
    [
        {},
        {"law": "cauchy"},
        {"law": "bernoulli"},
        {"law": "bernoulli", "p": 0.5, "q": 1},
        {"law": "bernoulli", "p": 2},
        {"law": "measured", "samples": "12"},
        {"law": ["bernoulli"], "p": 0.5},
        [("law", "bernoulli")],
    ],
)
def test_damaged_descriptions_are_refused(description: object) -> None:
    with pytest.raises(ValueError, match=r"law|samples|p must"):
        from_dict(description)  # type: ignore[arg-type]


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_draws_follow_their_generator(law: NoiseLaw) -> None:
    assert torch.equal(law.draw((3, 4), generator=5), law.draw((3, 4), generator=5))
    assert not torch.equal(law.draw((50,), generator=5), law.draw((50,), generator=6))
    one, two = (law.draw((20,), generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, two)
    torch.manual_seed(3)
    first = law.draw((20,))
    torch.manual_seed(3)
    assert torch.equal(first, law.draw((20,)))
    assert law.draw((), generator=1).shape == ()
    assert law.draw((2, 0), generator=1).shape == (2, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nsm.Gaussian(1e-200), "std must give a variance within float32's range"),
        (lambda: nsm.Gaussian(1e200), "std must give a variance within float32's range"),
        (lambda: nsm.Measured([1e308, -1e308]), r"samples must lie within \+-1e\+18"),
        (lambda: nsm.Measured(torch.tensor([[0.5, 1.5]])), r"one dimension, got shape \(1, 2\)"),
        (lambda: nsm.Measured(np.array([[0.5, 1.5]])), r"one dimension, got shape \(1, 2\)"),
        (lambda: nsm.Measured([0.0, 1e-30]), "samples must give a variance within float32's range"),
        (lambda: nsm.Bernoulli(1e-12), "p must be strictly between 0 and 1, and further than"),
        (lambda: nsm.Bernoulli(1.0 - 1e-12), "p must be strictly between 0 and 1, and further than"),
    ],
)
def test_numbers_that_give_no_law_are_refused(make: Callable[[], NoiseLaw], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(TypeError, match="samples must be a table of numbers, got int"):
        nsm.Measured(5)  # type: ignore[arg-type]
