"""The generated files in the repository; `make compiled` writes all of them or none."""

from pathlib import Path

from bss.config import BUILTIN, load_config
from bss.files import whole_file
from bss.init import datasets_page, strategies_page
from bss.init.project import project_dvc_yaml
from components.readme import OF_AUDIT, OF_SHARDS, STEPS, readme
from pipelines.compile import compile_pipeline

PROJECT = Path(__file__).parents[1]


def generated() -> dict[Path, str]:
    """Return the text of each generated file by its path.

    Raises `BssError` if pipelines/cluster.yaml is wrong, and any exception of a dataset's file.
    """
    pipelines = PROJECT / "pipelines"
    texts = {pipelines / "pipeline.yaml": compile_pipeline(pipelines / "cluster.yaml", load_config(BUILTIN))}
    texts |= {PROJECT / "components" / step / "README.md": readme(step) for step in (*STEPS, *OF_SHARDS, *OF_AUDIT)}
    texts[PROJECT / "docs" / "datasets.md"] = datasets_page.page_text()
    texts[PROJECT / "docs" / "strategies.md"] = strategies_page.page_text()
    project = PROJECT / "bss" / "init" / "project"
    texts[project / "dvc.yaml.txt"] = project_dvc_yaml((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))
    texts[project / "schedulers.json"] = (PROJECT / ".dvc" / "plots" / "schedulers.json").read_text(encoding="utf-8")
    return texts


if __name__ == "__main__":
    for path, text in generated().items():
        with whole_file(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
        print(path.relative_to(PROJECT))
