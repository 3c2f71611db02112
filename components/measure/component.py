"""Stage 2 as a Kubeflow component: one seed."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Markdown, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def measure(
    seed: int,
    digest: str,
    measurings: Input[Artifact],
    store: Input[Dataset],
    scores: Output[Dataset],
    summary: Output[Markdown],
) -> NamedTuple("Measured", [("digest", str)]):
    """Measure the balance score of every training sample with one seed, after the warm-up and before it.

    Args:
        seed: The seed.
        digest: Digest of the data and all parameters that decide it: another one is never taken from the cache.
        measurings: What decides the measuring with each seed, from the step start.
        store: The decoded samples.
        scores: A row per training sample.
        summary: Means of what was measured.

    Returns:
        Digest of the scores.
    """
    from pathlib import Path

    from bss.files import digest_folder
    from bss.kubeflow.measurings import measuring_config
    from bss.kubeflow.messages import plain_errors
    from bss.kubeflow.summaries import scores_summary
    from bss.stages.measure import measure as measure_stage

    with plain_errors():
        folder = Path(scores.path)
        measure_stage(measuring_config(Path(measurings.path), seed, digest), Path(store.path), folder)
        Path(summary.path).write_text(scores_summary(folder), encoding="utf-8")
        of_scores = digest_folder(folder)
    scores.metadata.update(digest=of_scores, seed=seed)
    return (of_scores,)
