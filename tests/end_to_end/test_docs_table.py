"""Every fenced block of README.md and docs/*.md is run or has its reason, and every command in them exists."""

import ast
import functools
import importlib.util
import re
import shlex

import pytest
from docs_blocks import PAGES, PROJECT, SHELL, blocks, commands, inline_code, page_text
from docs_table import COMMANDS, NO_COMMANDS, OTHER_YAML, PARAMETERS, PYTHON, REASONS, NotRun
from dvc.cli.parser import get_main_parser
from ruamel.yaml import YAML

from bss.cli import _parser
from bss.config import BUILTIN, config_from_tree, config_to_tree, load_config
from bss.datasets.find import all_datasets

TABLE = "tests/end_to_end/docs_table.py"
ASSIGNMENTS = re.compile(r"^(?:[A-Z_]+=\S*\s+)+")
PLACEHOLDERS = {"<commit>": "0123456789ab"}


bss_parser = functools.cache(_parser)
dvc_parser = functools.cache(get_main_parser)


def in_table(table, block):
    """Return the key of the block in a table by page and how the first line begins."""
    found = [key for key in table if key[0] == block.page and block.first_line.startswith(key[1])]
    assert len(found) <= 1, f"{block.page}:{block.line}: {TABLE} has {len(found)} entries for this block"
    return found[0] if found else None


def shell_blocks(page):
    """Return the blocks that show commands."""
    layouts = {dataset.layout.strip() for dataset in all_datasets().values()}
    found = [block for block in blocks(page) if block.language in SHELL]
    return [block for block in found if in_table(NO_COMMANDS, block) is None and block.text.strip() not in layouts]


@functools.cache
def all_commands():
    return [
        (page, block.line, command)
        for page in PAGES
        for block in shell_blocks(page)
        for command in commands(block.text)
    ]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_run_or_has_its_reason(page):
    shown = {command: line for found, line, command in all_commands() if found == page}
    listed = COMMANDS.get(page, {})
    new = [f"{page}:{line}: {command}" for command, line in shown.items() if command not in listed]
    assert not new, f"classify in COMMANDS of {TABLE}: {new}"
    assert not listed.keys() - shown.keys(), f"{TABLE}: {page} shows these no more"


@pytest.mark.parametrize("page", PAGES)
def test_every_other_block_is_checked_or_has_its_reason(page):
    tables = {"python": [PYTHON], "yaml": [PARAMETERS, OTHER_YAML]} | {language: [] for language in SHELL}
    for block in blocks(page):
        assert block.language in tables, f"{page}:{block.line}: a block of {block.language}: nothing checks such blocks"
        if block.language not in SHELL:
            assert [key for table in tables[block.language] if (key := in_table(table, block))], (
                f"{page}:{block.line}: classify in {TABLE}: {block.first_line}"
            )


def test_no_entry_of_the_table_is_left_over():
    every = [block for page in PAGES for block in blocks(page)]
    for table in (NO_COMMANDS, PYTHON, PARAMETERS, OTHER_YAML):
        assert set(table) == {key for block in every if (key := in_table(table, block))}
    assert set(COMMANDS) <= set(PAGES)


def test_what_the_table_names_exists():
    path = PROJECT / "tests" / "end_to_end" / "test_docs_commands.py"
    tests = {
        node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)
    }
    values = [value for listed in COMMANDS.values() for value in listed.values()]
    for value in [*values, *PYTHON.values(), *OTHER_YAML.values()]:
        if isinstance(value, NotRun):
            assert value.reason in REASONS
            assert value.by is None or (PROJECT / value.by).is_file()
        else:
            assert value in tests


@pytest.mark.parametrize(("page", "line", "command"), [entry for entry in all_commands() if "bss " in entry[2]])
def test_a_command_of_bss_has_these_options(page, line, command):
    for old, new in PLACEHOLDERS.items():
        command = command.replace(old, new)
    for part in re.split(r"\s&&\s", command):
        name, *arguments = shlex.split(part)
        if name == "bss":
            bss_parser().parse_args(arguments)  # SystemExit if it does not


@pytest.mark.parametrize("page", PAGES)
def test_code_in_the_text_names_commands_targets_and_options_that_exist(page):
    shell = [command for found, _, command in all_commands() if found == page]
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), flags=re.M))
    wrong = []
    for code in [*inline_code(page), *shell]:
        name, _, rest = ASSIGNMENTS.sub("", code).partition(" ")
        if name == "make" and rest and rest.split()[0] not in targets:
            wrong.append(code)
        elif name == "bss" and rest:
            wrong += [code] * (not options_exist(bss_parser(), rest.split()))
        elif name == "dvc" and rest:
            wrong += [code] * (not options_exist(dvc_parser(), rest.split()))
        elif name == "python" and (module := re.match(r"-m ([\w.]+)", rest)):
            wrong += [code] * (importlib.util.find_spec(module[1]) is None)
    assert not wrong


def options_exist(parser, words):
    """Say whether the commands below `parser` that `words` begin with exist, and have the options among the words.

    `show|diff` names two commands.
    """
    subparsers = [action for action in parser._actions if type(action).__name__ == "_SubParsersAction"]
    if subparsers:
        names = words[0].split("|") if words else []
        choices = subparsers[0].choices
        return not names or all(name in choices and options_exist(choices[name], words[1:]) for name in names)
    known = set(parser._option_string_actions)
    return all(word.partition("=")[0] in known for word in words if word.startswith("-"))


def merged(tree, change):
    """Return `tree` with the values of `change`; an empty mapping and one of named parts replace the old value."""
    found = dict(tree)
    for key, value in change.items():
        replaces = not isinstance(value, dict) or not value or key in ("modalities", "encoders", "fusion")
        found[key] = value if replaces else merged(found.get(key) or {}, value)
    return found


def parameter_blocks():
    return [(key, block) for page in PAGES for block in blocks(page) if (key := in_table(PARAMETERS, block))]


@pytest.mark.parametrize(("key", "block"), parameter_blocks(), ids=lambda value: str(value)[:40])
def test_parameters_that_are_shown_are_valid(key, block):
    shown = YAML(typ="safe").load(block.text)
    if "dataset" in shown:  # the short form is a whole file
        config_from_tree(shown, block.page)
        return
    tree = config_to_tree(load_config(BUILTIN))
    if not shown.keys() & tree.keys():
        shown = {"network": {"encoders": shown}}
    if PARAMETERS[key]:
        tree = merged(tree, {"prepare": {"modalities": PARAMETERS[key]}})
    assert holds(config_to_tree(config_from_tree(merged(tree, shown), block.page)), shown)


def holds(tree, part):
    """Say whether each value of `part` is the one of `tree` in the same place."""
    if isinstance(part, dict) and part:
        return isinstance(tree, dict) and all(key in tree and holds(tree[key], part[key]) for key in part)
    return tree == part or (part == {} and not any((tree or {}).values()))


def test_a_command_ends_where_its_line_does_unless_it_is_continued():
    text = "a  b   # why\nb \\\n    c 'd  # e'\n\n# only a comment\npython -c 'one\ntwo(3)'\n"
    assert commands(text) == ["a b", "b c 'd  # e'", "python -c 'one\ntwo(3)'"]


def test_pages_have_fences_in_pairs():
    for page in PAGES:  # one that is indented or written with ~ would be no block
        assert len(re.findall(r"^\s*(?:```|~~~)", page_text(page), flags=re.M)) == 2 * len(blocks(page)), page
