import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

SCRIPT = """
import resource, sys, torch
from bss.training.keep_freed_memory import keep_freed_memory

def faults(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        torch.ones(12 << 20).add(1)  # twice 48 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "kept":
    keep_freed_memory()
faults(8)
print(faults(4))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_freed_memory_is_used_again():
    faults = {}
    for kept in ("kept", "given-back"):
        done = subprocess.run([sys.executable, "-c", SCRIPT, kept], capture_output=True, text=True, check=True)
        faults[kept] = int(done.stdout)
    assert faults["kept"] < 1000
    assert faults["given-back"] > 1000
