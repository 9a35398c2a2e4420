"""Student's law beside scipy's."""

import pytest
import scipy.stats

from nsm.inference.student import critical_value, upper_tail


@pytest.mark.parametrize("dof", [0.5, 1.0, 3.0, 14.3, 100.0, 2000.0])
def test_the_upper_tail(dof: float) -> None:
    for t in (0.0, 1e-3, 0.7, 1.0, 2.0, 4.5, 30.0):
        assert upper_tail(t, dof) == pytest.approx(scipy.stats.t.sf(t, dof), rel=1e-10)


@pytest.mark.parametrize("dof", [0.5, 1.0, 10.0, 1007.0])
def test_critical_values(dof: float) -> None:
    for level in (0.4, 0.01, 1e-6, 1e-12):
        assert critical_value(level, dof) == pytest.approx(scipy.stats.t.isf(level, dof), rel=1e-9)
