import importlib

from bss.discover import discover


def test_modules_with_the_attribute_are_found_in_alphabetical_order(tmp_path, monkeypatch):
    package = tmp_path / "things_to_discover"
    package.mkdir()
    for name, text in {"__init__": "ENTRY = 0", "b": "ENTRY = 2", "a": "ENTRY = None", "helper": "OTHER = 3"}.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    found = discover(importlib.import_module("things_to_discover"), "ENTRY")
    assert list(found.items()) == [("a", None), ("b", 2)]
