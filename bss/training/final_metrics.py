"""What remains of a finished training: metrics.json, and what it took."""

from typing import Any

import numpy as np
import numpy.typing as npt

from bss.config.schema import Config
from bss.metrics.base import SplitMetric
from bss.metrics.find import metrics_of
from bss.training.evaluation import evaluate, task_of
from bss.training.final_imbalance import final_imbalance
from bss.training.resume.state import Records, TrainingState
from bss.training.split_data import SplitData
from bss.training.start_strategy import Teachers


def final_metrics(
    config: Config,
    state: TrainingState,
    seen: dict[str, SplitData],
    test: SplitData,
    train: SplitData,
    teachers: Teachers | None,
) -> tuple[dict[str, Any], dict[str, npt.NDArray[np.float64]]]:
    """Evaluate the last network and the selected one, which is what remains.

    Returns metrics.json, and each modality's contribution to the samples of train [n], empty unless imbalance is
    measured.
    """
    network, ranks = state.network, state.ranks
    last = evaluate(state.evaluated, test, "last/test", ranks, config.evaluation)
    network.load_state_dict(state.best.weights)
    metrics = {
        "protocol": config.protocol,
        "selected_epoch": state.best.epoch,
        **({} if config.train.early_stopping is None else {"epochs": len(state.records.history)}),
        **_cost(state.records, teachers),
        **(evaluate(network, seen["val"], "val", ranks, config.evaluation) if "val" in seen else {}),
        **evaluate(network, test, "test", ranks, config.evaluation),
        **{
            f"last/test_{metric.name}": last[f"last/test/{metric.name}"]
            for metric in metrics_of(SplitMetric, task_of(network))
            if not metric.per_modality
        },
    }
    if config.evaluation.imbalance_every is None:
        return metrics, {}
    found = final_imbalance(network, train, {**seen, "test": test}, ranks)
    return metrics | found.metrics, found.contributions


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
