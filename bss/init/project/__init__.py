"""The files a project folder needs besides params.yaml, so that `dvc repro` works wherever bss is installed."""

import shlex
from importlib.resources import files
from pathlib import Path

GITIGNORE = """\
.venv/
__pycache__/
/mlflow.db*
/.mlflow.db.unfinished*
/mlartifacts/
/mlruns/
/outputs/
/dvc_plots/
# Not /data/*: DVC takes that to match data/ itself, and then finds no data/*.dvc.
/data/?*
!/data/*.dvc
!/data/.gitignore
"""
DVCIGNORE = "__pycache__\n.venv\n"
HEADER = """\
# Written by `bss init`. After updating bss, run `dvc repro --force`: DVC does not watch installed packages.
"""
PLOT = "plots/schedulers.json"
"""DVC's own template folder is in .dvc, which may not exist before `dvc init`."""


def project_dvc_yaml(text: str) -> str:
    """Return the repository's dvc.yaml `text` without dependencies on the source of bss."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("- bss/")]
    kept = [
        line
        for line, below in zip(lines, [*lines[1:], ""], strict=True)
        if line.strip() != "deps:" or below.lstrip().startswith("- ")
    ]
    return HEADER + "\n".join(kept).replace("template: schedulers", f"template: {PLOT}") + "\n"


def project_files() -> dict[str, str]:
    """Return the text of each file by its path in the project."""
    package = files(__name__)  # DVC would load any dvc.yaml in a clone: the packaged one has another name
    return {
        "dvc.yaml": (package / "dvc.yaml.txt").read_text(encoding="utf-8"),
        PLOT: (package / "schedulers.json").read_text(encoding="utf-8"),
        ".gitignore": GITIGNORE,
        ".dvcignore": DVCIGNORE,
    }


def write_project(folder: Path) -> tuple[list[str], list[str]]:
    """Write the files missing from `folder`; return their names, and a line for each existing file left unchanged.

    A folder whose dvc.yaml runs bss, such as a clone, is left alone.
    """
    own = folder / "dvc.yaml"
    wanted = project_files()
    if own.exists():
        text = own.read_text(encoding="utf-8", errors="replace")
        left = f"{own} already exists and was left unchanged, but none of its stages runs bss. Add those of `bss init` "
        return [], [] if "bss train" in text else [f"{left}in an empty folder, or work in a folder of its own"]
    written, notes = [], []
    for name, text in wanted.items():
        path = folder / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(name)
        elif name in (".gitignore", ".dvcignore"):
            missing = [line for line in text.splitlines() if line not in path.read_text(encoding="utf-8").splitlines()]
            missing = [line for line in missing if not line.startswith("#")]
            notes += [f"{path} already exists and was left unchanged; add {', '.join(missing)}"] * bool(missing)
        elif path.read_text(encoding="utf-8") != text:
            notes.append(f"{path} already exists, differs from the one of bss, and was left unchanged")
    return written, notes


def next_commands(folder: Path) -> str:
    """Return the commands that run the pipeline in `folder`, as one shell line."""
    here = folder.resolve()
    places = [here, *here.parents]
    commands = [] if here == Path.cwd() else [f"cd {shlex.quote(str(folder))}"]
    repository = next((place for place in places if (place / ".git").exists()), None)
    if repository is None:
        commands.append("git init")
    if not any((place / ".dvc").is_dir() for place in places):
        commands.append("dvc init" if repository in (None, here) else "dvc init --subdir")
    return " && ".join([*commands, "dvc repro"])
