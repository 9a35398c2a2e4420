"""In a process of its own: the setting stays for the rest of it."""

import subprocess
import sys

PROGRAM = """
import resource, torch
from nsm.training.memory import keep_freed_memory

def faults():
    torch.ones(2**21).sum()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(2**21)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
keep_freed_memory()
faults()
print(before, faults())
"""


def test_freed_memory_is_used_again() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    # 8 MiB are 2048 pages; at the C library's defaults each of 20 blocks is faulted in anew.
    assert after < 100
    assert before >= after


HELD = """
import torch
from nsm.studies.memory import resident_mib
from nsm.training.memory import give_back_freed_memory, keep_freed_memory

keep_freed_memory()
kept = torch.ones(2**16)
start = resident_mib()
freed, later = torch.ones(2**24), torch.ones(2**16)
del freed
held = resident_mib()
give_back_freed_memory()
print(held - start, resident_mib() - start)
"""


def test_freed_memory_is_given_back_when_asked_for() -> None:
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True)
    held, given = map(float, done.stdout.split())
    # 64 MiB, below a block that is still in use.
    assert held > 60
    assert given < 10
