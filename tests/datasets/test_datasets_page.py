"""docs/datasets.md: written from the datasets, and its example works as it stands."""

import re
import sys
from pathlib import Path

import pytest

import bss.datasets
from bss.cli import _parser
from bss.config import load_config
from bss.datasets.find import all_datasets
from bss.init.datasets_page import page_text

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs" / "datasets.md"


def block(language: str, containing: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.S)
    (found,) = [text for text in blocks if containing in text]
    return found


def test_it_is_as_the_datasets_say():
    assert DOCS.read_text(encoding="utf-8") == page_text(), "run `make compiled` and commit docs/datasets.md"


def test_every_dataset_is_in_both_tables_with_a_section():
    text = DOCS.read_text(encoding="utf-8")
    for name, dataset in all_datasets().items():
        assert len(re.findall(rf"^\| `{name}` \|", text, flags=re.M)) == 2
        assert f"\n## {dataset.title}\n\n`{name}`, below the root:\n" in text


def test_the_short_form_is_whole(tmp_path):
    (tmp_path / "short.yaml").write_text(block("yaml", "dataset: crema-d"))
    config = load_config(tmp_path / "short.yaml", ["train.epochs=5"])
    assert (config.prepare.source, config.protocol, config.train.epochs) == ("crema-d", "published", 5)


def test_every_command_that_is_named_exists():
    commands = _parser()._subparsers._group_actions[0].choices
    assert set(re.findall(r"(?:^|`)bss ([a-z][\w-]+)", DOCS.read_text(encoding="utf-8"), flags=re.M)) <= set(commands)


class Passed(list):
    """A plugin that keeps the names of the tests that passed."""

    def pytest_runtest_logreport(self, report):
        if report.when == "call" and report.passed:
            self.append(report.nodeid.partition("::")[2])


@pytest.mark.slow
def test_the_example_of_a_new_dataset_passes_its_own_test(tmp_path, monkeypatch):
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "bird_songs.py").write_text(block("python", "DATASET = Dataset("))
    (tmp_path / "test_bird_songs.py").write_text(block("python", "import pytest"))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.setattr(bss.datasets, "__path__", [*bss.datasets.__path__, str(tmp_path / "datasets")])
    all_datasets.cache_clear()
    passed = Passed()
    try:
        assert pytest.main(["-q", "-p", "no:cacheprovider", str(tmp_path)], plugins=[passed]) == pytest.ExitCode.OK
    finally:
        all_datasets.cache_clear()
        for name in ("bss.datasets.bird_songs", "test_bird_songs"):
            sys.modules.pop(name, None)
    assert len(passed) == 4


def test_no_note_would_be_lost_as_a_tag_of_html():
    assert not [note for dataset in all_datasets().values() for note in dataset.notes if "<" in note]


def test_every_published_dataset_cites_its_source():
    text = DOCS.read_text(encoding="utf-8")
    for name, dataset in all_datasets().items():
        assert bool(dataset.citation) == (name != "features")
        if dataset.citation:
            assert re.search(r"\. .*, (19|20)\d\d\.$", dataset.citation)
            address = f" <{dataset.address}>" if dataset.address else ""
            assert f"\n```\n\nSource: {dataset.citation}{address}\n\n" in text
        assert re.fullmatch(r"(https?://\S+)?", dataset.address)
