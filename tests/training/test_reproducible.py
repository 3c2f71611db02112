import pytest
import torch

from bss.errors import BssError
from bss.training.reproducible import resolve_device


def test_auto_takes_a_gpu_where_there_is_one():
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("cpu").type == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told():
    with pytest.raises(BssError, match=r"resources\.device: there is no GPU"):
        resolve_device("cuda")
