"""Stage 2 as a Kubeflow component: one seed."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import Dataset, Input, Markdown, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def measure(
    parameters: str,
    digest: str,
    store: Input[Dataset],
    scores: Output[Dataset],
    summary: Output[Markdown],
) -> NamedTuple("Measured", [("digest", str)]):
    """Measure the balance score of every training sample with one seed, before and after the warm-up.

    Args:
        parameters: The parameters that decide this step, including the seed, from the step start.
        digest: Digest of the data and its preparation: other data is never taken from the cache.
        store: The decoded samples.
        scores: A row per training sample.
        summary: Means of the measured values.

    Returns:
        Digest of the scores.
    """
    import time
    from pathlib import Path

    from bss.files import digest_folder
    from bss.kubeflow.messages import plain_errors
    from bss.kubeflow.parameters import config_from_part
    from bss.kubeflow.summaries import scores_summary
    from bss.stages.measure import measure as measure_stage

    with plain_errors():
        config, folder, began = config_from_part(parameters), Path(scores.path), time.monotonic()
        measure_stage(config, Path(store.path), folder)
        seconds = time.monotonic() - began
        Path(summary.path).write_text(scores_summary(folder), encoding="utf-8")
        of_scores = digest_folder(folder)
    # Beside the scores, whose digest no time may change: it only decides how many trials share a pod.
    epoch_seconds = seconds / max(1, config.measure.warmup_epochs)
    scores.metadata.update(digest=of_scores, data_digest=digest, epoch_seconds=epoch_seconds)
    return (of_scores,)
