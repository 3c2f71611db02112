"""bss.balance on its own: what importing it imports, its types for a user's checker, and its page of the reference."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bss import balance

PROJECT = Path(__file__).parents[2]
IMPORTED = """
import json, sys
import bss.balance
at_once = set(sys.modules)
import numpy, torch, torch.distributed, torch.utils.data.distributed
before = set(sys.modules)
for name in bss.balance.__all__:
    getattr(bss.balance, name)
print(json.dumps([sorted(at_once), sorted(set(sys.modules) - before)]))
"""
USERS = """
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from bss.balance import Audit, BalanceScore, Heuristic, Learned, Pacing, Scheduler, SequenceSampler, WithIndex, audit

data = TensorDataset(torch.zeros(8, 2), torch.zeros(8))
schedulers: list[Scheduler] = [Learned(beta=0.6), Heuristic(Pacing(start=0.2), trim=0.1)]
sampler = SequenceSampler(len(data), schedulers[0], seed=0, score=BalanceScore(), num_samples=8)
for epoch in range(2):
    sampler.set_epoch(epoch)
    for index, x, y in DataLoader(WithIndex(data), batch_size=4, sampler=sampler):
        logits = {"audio": x, "image": x}
        sampler.check(index)
        sampler.observe(index, logits, y)
found: Audit = audit({"audio": np.zeros((8, 2)), "image": np.zeros((8, 2))}, np.zeros(8, dtype=np.int64))
reveal_type(sampler.sequence)
reveal_type(found.probability)
sampler.set_epoch("1")
Learned(gamma=1)
"""


@pytest.fixture(scope="module")
def imported():
    done = subprocess.run([sys.executable, "-c", IMPORTED], cwd=PROJECT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def packages(modules):
    return {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names) - {"__main__"}


@pytest.mark.process
def test_all_of_it_imports_nothing_but_numpy_torch_and_itself(imported):
    _, added = imported
    assert packages(added) == {"bss"}
    assert {".".join(name.split(".")[:2]) for name in added} <= {"bss.balance", *sys.stdlib_module_names}


@pytest.mark.process
def test_its_import_waits_for_numpy_alone(imported):
    at_once, _ = imported
    assert {"numpy", "bss"} <= packages(at_once)
    assert "torch" not in packages(at_once)
    assert {name.split(".")[1] for name in at_once if name.startswith("bss.")} == {"balance"}


@pytest.mark.process
def test_a_user_s_strict_type_checker_knows_its_types(tmp_path):
    (tmp_path / "loop.py").write_text(USERS, encoding="utf-8")
    # torch is large: what it names is unknown to this run, and what bss names is not.
    settings = "[mypy]\ncache_dir = cache\n[mypy-torch.*]\nfollow_imports = skip\nignore_missing_imports = true\n"
    settings += "[mypy-bss.*]\nignore_errors = true\n"
    (tmp_path / "mypy.ini").write_text(settings, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--allow-subclassing-any", "loop.py"]
    environment = {"MYPYPATH": str(PROJECT), "PATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    lines = [line.partition("loop.py:")[2] for line in done.stdout.splitlines()]
    problems = [line for line in lines if ": error: " in line]
    assert len(problems) == 2, done.stdout
    assert 'Argument 1 to "set_epoch" of "SequenceSampler" has incompatible type "str"; expected "int"' in problems[0]
    assert 'Unexpected keyword argument "gamma" for "Learned"' in problems[1]
    revealed = [line for line in lines if "Revealed type" in line]
    assert re.search("dtype.*int", revealed[0])
    assert re.search("dtype.*float", revealed[1])


def test_the_reference_has_every_public_name():
    page = (PROJECT / "docs" / "api.md").read_text(encoding="utf-8")
    shown = re.findall(r"^::: (bss\.balance[\w.]*)$", page, flags=re.M)
    for name in balance.__all__:
        value = getattr(balance, name)
        assert {value.__module__, f"{value.__module__}.{name}"} & set(shown) or any(
            getattr(importlib.import_module(path.rpartition(".")[0]), path.rpartition(".")[2], None) is value
            for path in shown
        ), name
        assert value.__doc__, name
