import os
import sys

import pytest

from nsm.studies import results


def test_the_command_is_as_a_user_would_type_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("NSM_", "OMP_", "MALLOC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/nsm", "bench", "draw", "--results", "my results.json"])
    assert results.command() == "nsm bench draw --results 'my results.json'"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("NSM_KERNELS", "avx2")
    monkeypatch.setenv("MALLOC_CONF", "a b")
    monkeypatch.setenv("NSM_DATA", "elsewhere")
    assert results.command() == (
        "MALLOC_CONF='a b' NSM_KERNELS=avx2 OMP_NUM_THREADS=1 nsm bench draw --results 'my results.json'"
    )
