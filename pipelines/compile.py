"""Compiling the pipeline: the text that Kubeflow runs."""

import tempfile
from pathlib import Path

from bss.config.load import load_config
from pipelines.cluster import load_cluster

CLUSTER = Path("pipelines/cluster.yaml")
PARAMS = Path("params.yaml")
COMPILED = Path("pipelines/pipeline.yaml")


def compile_pipeline(cluster: Path, params: Path) -> str:
    """Return the compiled pipeline for the settings in `cluster`, with `params` as its default parameters.

    Raises `BssError` where a file is missing or wrong.
    """
    from kfp import compiler

    from pipelines.pipeline import build_pipeline

    settings = load_cluster(cluster)
    load_config(params)  # a mistake in the default parameters is told here, not on the cluster
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(build_pipeline(settings, params.read_text(encoding="utf-8")), str(path))
        return path.read_text(encoding="utf-8")
