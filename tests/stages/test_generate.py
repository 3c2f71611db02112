import pytest

from bss.data.builtin import digits
from bss.data.builtin.digits import write_digits
from bss.files import digest_file
from bss.stages.generate import generate


def digests(folder):
    return {p.relative_to(folder).as_posix(): digest_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def config(tree, make_config, monkeypatch):
    """A built-in dataset of 50 pairs."""
    monkeypatch.setattr(digits, "SHARES", {"train": 30, "val": 10, "test": 10})
    tree["generate"] = {"digits": {"seed": 5, "noisy": 0.2}}
    return make_config(tree)


def test_the_same_parameters_give_the_same_bytes_from_any_folder(config, tmp_path, monkeypatch):
    generate(config, "digits", tmp_path / "first")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    generate(config, "digits", tmp_path / "second")
    first = digests(tmp_path / "first")
    assert len(first) == 2 * 50 + 3
    assert digests(tmp_path / "second") == first


def test_a_file_does_not_depend_on_the_others(config, tmp_path, monkeypatch):
    (tmp_path / "whole").mkdir()
    write_digits(config.generate.digits, tmp_path / "whole")
    pairs = digits.plan_pairs(config.generate.digits)
    monkeypatch.setattr(digits, "plan_pairs", lambda _: pairs[:1:-1])
    (tmp_path / "part").mkdir()
    write_digits(config.generate.digits, tmp_path / "part")
    whole = digests(tmp_path / "whole")
    part = {name: digest for name, digest in digests(tmp_path / "part").items() if not name.endswith(".csv")}
    assert len(part) == 2 * 48
    assert part == {name: whole[name] for name in part}


def test_the_kinds_are_reported(config, tmp_path, capsys):
    generate(config, "digits", tmp_path / "digits")
    assert "50 pairs" in capsys.readouterr().out
