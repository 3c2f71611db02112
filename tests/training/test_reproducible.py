import subprocess
import sys

import pytest
import torch

from bss.errors import BssError
from bss.training.reproducible import resolve_device


def test_auto_takes_a_gpu_where_there_is_one():
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("cpu").type == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_reported():
    with pytest.raises(BssError, match=r"resources\.device: torch finds no usable GPU"):
        resolve_device("cuda")


@pytest.mark.process
def test_a_process_is_made_deterministic_without_importing_the_compiler():
    script = "import sys, torch; from bss.training.reproducible import make_reproducible; make_reproducible();"
    script += "print(torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(),"
    script += " torch.is_deterministic_algorithms_warn_only_enabled(), 'torch._inductor' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "1", "False", "False"]
