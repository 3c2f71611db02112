"""What remains of a finished trial: metrics.json, and what it took."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bss.config.schema import Config
from bss.metrics.base import SplitMetric
from bss.metrics.find import metrics_of
from bss.training.evaluation import evaluate, evaluate_and_read, task_of
from bss.training.final_imbalance import final_imbalance, probed_samples
from bss.training.parameter_counts import parameter_counts
from bss.training.predicting import NONE, Read
from bss.training.resume.state import Records, TrainingState
from bss.training.samples.split_data import SplitData
from bss.training.strategy.start import Teachers


def final_metrics(
    config: Config,
    state: TrainingState,
    seen: dict[str, SplitData],
    test: SplitData,
    train: SplitData,
    teachers: Teachers | None,
) -> tuple[dict[str, Any], dict[str, npt.NDArray[np.float64]]]:
    """Evaluate the last network and the selected one, which is kept.

    Returns metrics.json, and each modality's contribution to the samples of train [n], empty unless imbalance is
    measured.
    """
    network, ranks = state.network, state.ranks
    last = evaluate(state.evaluated, test, "last/test", ranks, config.evaluation)
    network.load_state_dict(state.best.weights)
    measured = config.evaluation.imbalance_every is not None
    evaluated: dict[str, Any] = {}
    read: dict[str, Read] = {}
    for split, data in {**seen, "test": test}.items():
        chosen = probed_samples(data) if measured else NONE
        found, read[split] = evaluate_and_read(network, data, split, chosen, ranks, config.evaluation)
        evaluated |= found
    metrics = {
        "protocol": config.protocol,
        "selected_epoch": state.best.epoch,
        **({} if config.train.early_stopping is None else {"epochs": len(state.records.history)}),
        **_cost(state.records, teachers),
        **parameter_counts(network),
        **evaluated,
        **{
            f"last/test_{metric.name}": last[f"last/test/{metric.name}"]
            for metric in metrics_of(SplitMetric, task_of(network))
            if not metric.per_modality
        },
    }
    if not measured:
        return metrics, {}
    imbalance = final_imbalance(network, train, read, ranks)
    return metrics | imbalance.metrics, imbalance.contributions


def _cost(records: Records, teachers: Teachers | None) -> dict[str, int]:
    """Return the steps, samples and floating-point operations of all epochs, and of the teachers."""
    columns = {"steps": "schedule/steps", "samples": "schedule/samples", "flops": "train/flops"}
    own = {key: sum(row[column] for row in records.history) for key, column in columns.items()}
    return {key: value + (getattr(teachers, key) if teachers else 0) for key, value in own.items()}


def seconds_spent(state: TrainingState, teachers: Teachers | None) -> dict[str, float]:
    """Return timing.json."""
    own = {"seconds": state.seconds(), "measuring_seconds": state.records.measuring_seconds}
    if teachers is None:
        return own
    return own | {"seconds": own["seconds"] + teachers.seconds, "teaching_seconds": teachers.seconds}
