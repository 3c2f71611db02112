"""What the tests of all published datasets in miniature do and assert alike."""

import contextlib
import io
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from refused import refused
from small_training import run_all_stages, small_config

from bss.data.store import Store
from bss.files import read_json
from bss.stages.prepare import prepare

SKIP = {"on_bad_sample": "skip"}


def written_by(write: Callable[[Path], Any]) -> Any:
    """Return a fixture of a module: the root of the dataset that `write` wrote, not to be changed."""

    @pytest.fixture(scope="module")
    def root(tmp_path_factory):
        made = tmp_path_factory.mktemp("published") / "root"
        write(made)
        return made

    return root


def store_of(fixture: str, make_config: Callable[[Path], Any]) -> Any:
    """Return a fixture of a module: the folder of the store of another's root, not to be changed, and what was printed.

    `make_config` gets the root.
    """

    @pytest.fixture(scope="module")
    def made(request, tmp_path_factory):
        folder, printed = tmp_path_factory.mktemp("store"), io.StringIO()
        with contextlib.redirect_stdout(printed):
            prepared(make_config(request.getfixturevalue(fixture)), folder)
        return folder / "store", " ".join(printed.getvalue().split())

    return made


def copy_of(fixture: str) -> Any:
    """Return a fixture: a copy of the data of another, to be changed."""

    @pytest.fixture
    def own(request, tmp_path):
        return shutil.copytree(request.getfixturevalue(fixture), tmp_path / "own")

    return own


def prepared(config: Any, folder: Path) -> Store:
    """Prepare the data of `config` into `folder`/store; return the store."""
    prepare(config, Path(config.prepare.root), folder / "store")
    return Store.open(folder / "store")


def require_comparison(config: Any, folder: Path) -> Path:
    """Run all stages in `folder` and assert what every report has; return its folder."""
    report = run_all_stages(config, folder)
    comparison = read_json(report / "comparison.json", "compare")
    assert comparison["protocol"] == config.protocol
    assert {"uniform", "bss-h", "bss-l"} <= set(comparison["schedulers"])
    assert (report / "report.html").is_file()
    return report


def every_stage(name: str) -> Any:
    """Return a test of a module: all stages run on its fixture `published` with the small preset of dataset `name`."""

    @pytest.mark.slow
    def runs(published, tmp_path):
        require_comparison(small_config(name, published), tmp_path)

    return runs


def require_published(
    config: Any, folder: Path, capsys: Any, splits: dict[str, int], classes: tuple[str, ...], texts: Iterable[str]
) -> Store:
    """Prepare `config` in `folder`; assert the samples by split, the classes, and `texts` of the output."""
    prepared(config, folder)
    return require_store(folder / "store", " ".join(capsys.readouterr().out.split()), splits, classes, texts)


def require_store(
    folder: Path, printed: str, splits: dict[str, int], classes: tuple[str, ...], texts: Iterable[str]
) -> Store:
    """Assert the samples by split and the classes of the store in `folder`, and `texts` of what was printed."""
    store = Store.open(folder)
    assert Counter(store.splits.tolist()) == splits
    assert store.classes == classes
    assert [text for text in texts if text not in printed] == []
    return store


def require_refused_then_skipped(
    config: Any, skipping: Any, folder: Path, problems: int, texts: Iterable[str], left: int
) -> str:
    """Assert that `config` refuses data with so many problems, and that `skipping` leaves them out.

    The message has each of `texts`, and nothing is written; then `left` samples are left. Returns skipped.csv.
    """
    message = refused(prepared, config, folder)
    assert f"{problems} problems" in message
    assert [text for text in texts if text not in message] == []
    assert not (folder / "store").exists()
    assert len(prepared(skipping, folder)) == left
    return (folder / "store" / "skipped.csv").read_text()


def require_bad_samples(name: str, root: Path, folder: Path, problems: int, texts: Iterable[str], left: int) -> str:
    """`require_refused_then_skipped` with the small preset of dataset `name`, by default and with skipping."""
    configs = (small_config(name, root), small_config(name, root, **SKIP))
    return require_refused_then_skipped(*configs, folder, problems, texts, left)
