import itertools

import numpy as np
import pytest

import nsm
from nsm.studies import clt


def test_the_exact_probability_is_that_of_enumeration() -> None:
    law, generator = nsm.Bernoulli(0.3), np.random.default_rng(0)
    products = generator.normal(size=(4, 10))
    mean = np.array([-1.0, -0.2, 0.1, 0.9])
    exact = clt.exact_probability(law, products, mean)
    for terms, centre, found in zip(products, mean, exact, strict=True):
        expected = 0.0
        for factors in itertools.product((0, 1), repeat=10):
            u = centre + sum((f - 0.3) * term for f, term in zip(factors, terms, strict=True))
            expected += (u >= 0) * np.prod([0.3 if f else 0.7 for f in factors])
        # The characteristic function of ten atoms falls slowly, where the quadrature ends.
        assert found == pytest.approx(expected, abs=0.01)


def test_only_gaussian_noise_needs_no_central_limit_and_the_others_approach_it() -> None:
    rows = clt.run(neurons=8, fan_ins=(16, 100))
    assert [row["law"] for row in rows[::2]] == list(clt.LAWS)
    for few, many in zip(rows[::2], rows[1::2], strict=True):
        if few["law"].startswith("Gaussian"):
            assert max(few["largest"], many["largest"]) < 1e-6
        else:
            assert many["largest"] < 0.6 * few["largest"]
