"""Stage 3 as a Kubeflow component."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Markdown, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def schedule(
    parameters: str,
    store_digest: str,
    scores_digests: list,
    trials_per_pod: int,
    store: Input[Dataset],
    measured: Input[list[Dataset]],
    scores: Output[Dataset],
    plans: Output[Dataset],
    summary: Output[Markdown],
) -> list:
    """Turn the scores into a plan per scheduler and seed, and group the resulting trials.

    Args:
        parameters: The parameters that decide this step and the trials, from the step start.
        store_digest: Digest of the store: another store is never taken from the cache.
        scores_digests: Digests of the scores: other scores are never taken from the cache.
        trials_per_pod: Trials in a group, which is a pod; 0 chooses from how long measuring took. Students of the
            same teachers share a group, which may be larger.
        store: The decoded samples.
        measured: The scores of each seed.
        scores: The scores of all seeds.
        plans: A folder per scheduler: parameters, pacing, and per seed the scores and ranks; cells.json, with what
            decides each trial, and groups.json, with the trials of each group.
        summary: Number of samples and steps per scheduler.

    Returns:
        For each group its number and the digest of all that decides its trials.
    """
    from pathlib import Path

    from bss.kubeflow.groups import group_size, group_trials
    from bss.kubeflow.measurements import join_scores
    from bss.kubeflow.messages import plain_errors
    from bss.kubeflow.parameters import config_from_part
    from bss.kubeflow.summaries import plans_summary
    from bss.kubeflow.trials import list_trials, most_epochs, taught_strategies
    from bss.stages.schedule import schedule as schedule_stage

    with plain_errors():
        config, folder = config_from_part(parameters), Path(plans.path)
        join_scores(config, [Path(part.path) for part in measured], Path(scores.path))
        schedule_stage(config, Path(store.path), Path(scores.path), folder)
        Path(summary.path).write_text(plans_summary(folder), encoding="utf-8")
        trials = list_trials(config, Path(store.path), folder)
        epoch_seconds = max((part.metadata.get("epoch_seconds", 0) for part in measured), default=0)
        size = group_size(len(trials), trials_per_pod, epoch_seconds or None, most_epochs(config))
        groups = group_trials(trials, size, folder, taught_strategies(config))
    plans.metadata.update(store_digest=store_digest, scores_digests=scores_digests)
    return groups
