"""Compile the pipeline to the YAML that Kubeflow runs."""

import tempfile
from pathlib import Path

from bss.config import Config
from bss.kubeflow.parameters import config_to_json
from pipelines.cluster import load_cluster


def compile_pipeline(cluster: Path, config: Config, caching: bool = True) -> str:
    """Return the compiled pipeline for the settings in `cluster`, with `config` as its default parameters.

    Without `caching` no step takes an earlier result. kfp's own override at submission changes only the tasks of
    the root, which are not the steps, and turns caching on for `finish`. Raises `BssError` if the settings are
    missing or wrong.
    """
    from kfp import compiler

    from pipelines.pipeline import build_pipeline

    settings = load_cluster(cluster)
    # On one line: kfp repeats defaults in comments at the top of the file, and a second line would not be a comment.
    default = config_to_json(config)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        pipeline = build_pipeline(settings, default, config.train.nodes, config.audit.enabled, caching)
        compiler.Compiler().compile(pipeline, str(path))
        return path.read_text(encoding="utf-8")
