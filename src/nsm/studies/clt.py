"""How far the two-moment firing probability is from the exact law of every synapse, against fan-in.

The exact probability comes from the characteristic function of u (Gil-Pelaez inversion), computed by
quadrature; neurons have Gaussian weights, +-1 inputs, and biases that spread their probabilities over (0, 1).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nsm.noise import Bernoulli, Gaussian, Measured, NoiseLaw

STUDY = "clt"
Array = npt.NDArray[np.float64]
_POINTS = 6000  # of the midpoint rule
FAN_INS = (16, 32, 50, 100, 300)
LAWS: dict[str, NoiseLaw] = {
    "Bernoulli(0.5)": Bernoulli(0.5),
    "Bernoulli(0.25)": Bernoulli(0.25),
    "Bernoulli(0.1)": Bernoulli(0.1),
    "Gaussian(1)": Gaussian(1.0),
    "Measured, skewed": Measured([0.5, 0.6, 0.7, 0.8, 1.0, 1.3, 3.0]),
}


def run(neurons: int = 25, seed: int = 0, fan_ins: tuple[int, ...] = FAN_INS) -> list[dict[str, Any]]:
    """One row for each law and fan-in: largest, mean and signed mean difference of the two probabilities.

    Args:
        neurons: neurons for each row.
        seed: seed of weights and biases.
        fan_ins: presynaptic units.
    """
    rows = []
    for name, law in LAWS.items():
        for fan_in in fan_ins:
            generator = np.random.Generator(np.random.Philox(key=[seed, fan_in]))
            weights = generator.normal(size=(neurons, fan_in))
            spread = np.sqrt(law.variance) * np.linalg.norm(weights, axis=1)
            # E[u] from -2 to 2 standard deviations of u, whatever the weights sum to.
            mean = np.linspace(-2.0, 2.0, neurons) * spread
            difference = exact_probability(law, weights, mean) - two_moment_probability(mean, spread)
            rows.append(
                {
                    "law": name,
                    "fan_in": fan_in,
                    "neurons": neurons,
                    "seed": seed,
                    "largest": float(np.abs(difference).max()),
                    "mean_absolute": float(np.abs(difference).mean()),
                    "mean": float(difference.mean()),
                }
            )
    return rows


def two_moment_probability(mean: Array, spread: Array) -> Array:
    """(1 + erf(E/sqrt(2 Var)))/2, shape of ``mean``."""
    import torch

    result: Array = 0.5 * torch.special.erfc(torch.from_numpy(-mean / (np.sqrt(2.0) * spread))).numpy()
    return result


def exact_probability(law: NoiseLaw, products: Array, mean: Array) -> Array:
    """P(u >= 0) = 1/2 + (1/pi) int_0^inf Im(phi(t)) / t dt for u = mean + sum_j (xi_j - mu) products_j.

    Args:
        law: law of xi.
        products: w_j z_j, shape (neurons, fan-in).
        mean: E[u], shape (neurons,).

    Returns:
        Shape (neurons,).
    """
    spread = np.sqrt(law.variance * np.square(products).sum(1))
    # phi of a sum of a few discrete terms decays slowly: integrate far, in units of 1/spread.
    step = 60.0 / _POINTS
    t = (np.arange(_POINTS) + 0.5) * step
    result = np.empty(len(mean))
    for i, (terms, centre, scale) in enumerate(zip(products, mean, spread, strict=True)):
        log_phi = np.zeros(_POINTS, dtype=np.complex128)
        for term in terms:
            log_phi += np.log(_centred_characteristic(law, t * term / scale) + 1e-300)
        phi = np.exp(log_phi + 1j * t * centre / scale)
        result[i] = 0.5 + (phi.imag / t).sum() * step / np.pi
    return result


def _centred_characteristic(law: NoiseLaw, t: Array) -> npt.NDArray[np.complex128]:
    if isinstance(law, Gaussian):
        return np.exp(-0.5 * law.variance * t * t).astype(np.complex128)
    values, weights = ([0.0, 1.0], [1.0 - law.mean, law.mean]) if isinstance(law, Bernoulli) else _table(law)
    result = np.zeros(len(t), dtype=np.complex128)
    for value, weight in zip(values, weights, strict=True):
        result += weight * np.exp(1j * t * (value - law.mean))
    return result


def _table(law: NoiseLaw) -> tuple[list[float], list[float]]:
    assert isinstance(law, Measured)
    return list(law.samples), [1.0 / len(law.samples)] * len(law.samples)
