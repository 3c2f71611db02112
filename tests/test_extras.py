"""The extras of pyproject.toml match what the code imports, and a missing package is named with its extra."""

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bss.cli import main
from bss.config.modalities import ClipKind
from bss.data.decode import make_decoder
from bss.data.decode.spans import WHOLE
from bss.errors import BssError
from bss.extras import EXTRAS, not_installed
from bss.tracking.sender import sending

PROJECT = Path(__file__).parents[1]
METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BROUGHT = {
    "botocore": "boto3",
    "docstring_parser": "kfp",
    "dvc_data": "dvc",
    "fsspec": "dvc",
    "kfp_server_api": "kfp",
    "markupsafe": "jinja2",
    "pandas": "mlflow",
    "requests": "mlflow",
    "s3transfer": "boto3",
    "threadpoolctl": "scikit-learn",
    "tokenizers": "transformers",
    "urllib3": "kfp",
}
"""Packages that the project imports and that come with another one, which its extra names."""


def requirements(lines):
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines}


def imported(folder):
    """Return the top-level modules that the files in `folder` import."""
    found = set()
    for path in (PROJECT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"bss", "components", "pipelines"}


@pytest.mark.slow
def test_every_import_belongs_to_one_extra():
    listed = [module for modules in EXTRAS.values() for module in modules]
    assert len(listed) == len(set(listed))
    assert imported("bss") | imported("pipelines") | imported("components") == {"numpy", "torch", *listed}


@pytest.mark.slow
def test_each_extra_requires_the_packages_that_it_is_named_for():
    distributions = packages_distributions()
    for extra, modules in EXTRAS.items():
        named = requirements(METADATA["optional-dependencies"][extra])
        for module in modules:
            wanted = BROUGHT.get(module)
            names = {wanted} if wanted else {canonicalize_name(name) for name in distributions[module]}
            assert names & named.keys(), (extra, module)


def test_the_locks_have_a_version_that_each_requirement_allows():
    names = ("requirements.lock", "requirements-dev.lock")
    lines = [line for name in names for line in (PROJECT / name).read_text(encoding="utf-8").splitlines()]
    locked = requirements(line for line in lines if not line.startswith(("#", "--")))
    extras = METADATA["optional-dependencies"].values()
    for requirement in map(Requirement, [*METADATA["dependencies"], *chain.from_iterable(extras)]):
        name = canonicalize_name(requirement.name)
        if name == "bss":
            assert requirement.extras <= METADATA["optional-dependencies"].keys()
            continue
        (pin,) = locked[name].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), requirement


def test_development_includes_every_extra():
    dev = requirements(METADATA["optional-dependencies"]["dev"])
    assert dev["bss"].extras == set(METADATA["optional-dependencies"]) - {"dev"}


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        *(("av.stream", "video"), ("peft", "lora"), ("mlflow", "tracking"), ("boto3", "s3"), ("dvc.repo", "dvc")),
        ("kfp.dsl", "kubeflow"),
    ],
)
def test_a_missing_module_is_named_with_its_extra(module, extra):
    message = not_installed(module)
    assert message.startswith(f"{module.partition('.')[0]} is not installed: ")
    assert f"'.[{extra}]'" in message


def test_a_module_of_no_extra_is_named_too():
    assert not_installed("unheard.of") == "unheard is not installed: run `make setup` in a clone"
    assert not_installed(None) == "a package is not installed: run `make setup` in a clone"


def test_commands_name_the_extra_that_they_lack(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for module, arguments, extra in (
        ("dvc.repo", ["fetch", ".", "--path", "data", "--to", "new"], "dvc"),
        ("ruamel.yaml", ["compile", "--params", str(PROJECT / "params.yaml")], "train"),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            patch.delitem(sys.modules, "bss.remote.dvc_repository", raising=False)
            assert main(arguments) == 1
        assert capsys.readouterr().err == f"bss: {not_installed(module)}\n"
        assert f"'.[{extra}]'" in not_installed(module)


def test_a_film_without_the_extra_for_video_is_no_bad_sample(monkeypatch, tmp_path):
    from media import grey_steps, write_video

    write_video(tmp_path / "film.mp4", grey_steps(4))
    decode = make_decoder(ClipKind(kind="clip", height=32, width=48, frames=2), tmp_path, "film")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        decode("film.mp4", WHOLE)
    assert not_installed(caught.value.name) == not_installed("av")


def test_without_mlflow_a_training_continues_unless_tracking_is_strict(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    said = []
    with sending(tmp_path / "runs", "sqlite:///mlflow.db", strict=False, say=said.append):
        pass
    (line,) = said
    assert line.startswith(
        f"MLflow at sqlite:///mlflow.db cannot be used ({not_installed('mlflow')}). The run continues"
    )
    with (
        pytest.raises(BssError, match=r"cannot be used: mlflow is not installed: .*tracking\]'"),
        sending(tmp_path / "runs", "sqlite:///mlflow.db", strict=True, say=said.append),
    ):
        pytest.fail("must not begin")
