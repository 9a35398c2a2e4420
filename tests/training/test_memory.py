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
