"""Hostile program files end in one clear error: no crash, no hang, no memory by what a file claims."""

import contextlib
import tracemalloc

import pytest
import torch

import nsm
from nsm.engine import ProgramFileError, files
from tests.hostile.programs import hostile, signed, whole


@pytest.mark.parametrize("name", ["averaged", "pooled", "vectors", "features", "synapses", "shared"])
def test_hostile_files_are_refused(tmp_path, name):
    cases = hostile(name)
    assert len(cases) > 1000
    path = tmp_path / "hostile.nsm"
    refused = 0
    tracemalloc.start()
    for what, data in cases:
        path.unlink(missing_ok=True)  # a file that is cut before it is written goes to disk at once
        path.write_bytes(data)
        try:
            program = nsm.Program.load(path)
        except ProgramFileError as error:
            message = str(error)
            assert message.startswith(f"{path}: "), what
            assert "\n" not in message, what
            refused += 1
        else:
            # Another layer number, variance or stride can make another program: then a whole one.
            assert files.to_bytes(program.steps, vector=program.vector) == data, f"{what} was not refused"
            with contextlib.suppress(ValueError):  # a first layer whose sums overflow
                program.predict(torch.rand(1, *program.shape), samples=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused > 0.9 * len(cases)
    assert peak < 40 * len(whole(name)) + 2**20


def test_the_whole_file_is_read():
    data = whole()
    steps, vector = files.from_bytes(data)
    assert files.to_bytes(steps, vector=vector) == data
    assert signed(data) == data


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "nothing.nsm", tmp_path):
        with pytest.raises(ProgramFileError, match=f"{path.name}: cannot be read"):
            nsm.Program.load(path)
