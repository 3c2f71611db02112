"""The notebook in examples/ runs from top to bottom, and the outputs that it is stored with are its own."""

import copy
import re
from pathlib import Path

import nbclient
import nbformat
import pytest

pytestmark = pytest.mark.process

EXAMPLES = Path(__file__).parents[2] / "examples"
MEASURED = re.compile(r"(\d+)%|(\d+\.\d+)")
"""A share in percent or a decimal number; the rest of a line names things."""


@pytest.fixture(scope="module")
def notebooks():
    """The notebook as it is stored, and after running it."""
    stored = nbformat.read(EXAMPLES / "audit_your_predictions.ipynb", as_version=4)
    run = copy.deepcopy(stored)
    for cell in run.cells:
        cell["outputs"] = []
    nbclient.execute(run, cwd=str(EXAMPLES), timeout=300)
    return stored, run


def printed(notebook):
    return ["".join(output.text for output in cell.get("outputs", ())) for cell in notebook.cells]


def test_it_is_stored_with_the_outputs_of_a_run(notebooks):
    stored, run = map(printed, notebooks)
    assert sum(map(bool, stored)) == 5
    for before, after in zip(stored, run, strict=True):
        assert re.sub(r"\d", "", before).split() == re.sub(r"\d", "", after).split()
        for old, new in zip(MEASURED.findall(before), MEASURED.findall(after), strict=True):
            for first, second in zip(old, new, strict=True):
                # Another processor may round differently.
                assert float(first or 0) == pytest.approx(float(second or 0), abs=3 if old[0] else 0.03)


def test_the_audit_finds_the_contradictions_and_the_sampler_leaves_them_out(notebooks):
    text = "".join(printed(notebooks[1]))
    assert 22 <= int(re.search(r"estimated share of contradictions: (\d+)%, truth: 25%", text)[1]) <= 28
    above, right = map(int, re.search(r"(\d+) samples above 0.5, (\d+) of them contradict", text).groups())
    assert 40 <= right <= above <= 50  # 48 contradict
    epochs = re.findall(r"epoch \d: +(\d+) samples, (\d+)% of them contradict", text)
    assert [int(count) for count, _ in epochs] == [57, 95, 122, 144]  # 144 * sqrt(0.16 + 0.84 * t / 3)
    assert max(int(share) for _, share in epochs) <= 6
