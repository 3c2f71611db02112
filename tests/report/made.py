"""Results of trials that nobody ran, with curves, for reports of any size."""

from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import numpy as np

from bss.config.combinations import Combination
from bss.config.network import LossWeights
from bss.config.schema import CompareConfig
from bss.metrics.base import ImbalanceMetric
from bss.metrics.find import metrics_of
from bss.metrics.inputs import Task
from bss.report.comparison import compare_results
from bss.report.results import Result

EPOCHS = 24


def made_results(names, seeds, modalities, epochs=EPOCHS, spread=0.03):
    """Rows of `names` with accuracies that grow to between 0.80 and 0.80 + `spread`, by the order of the names."""
    random = np.random.default_rng(0)
    base = random.normal(0, 0.01, seeds)
    results = {}
    for place, name in enumerate(names):
        level = 0.8 + spread * place / len(names)
        results[name] = []
        for seed in range(seeds):
            time = np.arange(1, epochs + 1)
            noise = random.normal(0, 0.006, epochs)
            val = level + base[seed] - 0.5 * np.exp(-time / (3 + place % 5)) + noise
            test = level + base[seed] + random.normal(0, 0.005)
            heads = {f"acc_{m}": test - 0.1 - 0.05 * i for i, m in enumerate(modalities)}
            values = {"acc": test, "f1_macro": test - 0.01, "map": test + 0.02, **heads}
            metrics = {"protocol": "honest", "selected_epoch": int(val.argmax()), "steps": 100 * epochs, "samples": 9}
            metrics["flops"] = 10**9 * epochs
            metrics |= {f"{split}/{key}": float(value) for split in ("val", "test") for key, value in values.items()}
            metrics |= {f"last/test_{key}": float(values[key]) - 0.002 for key in ("acc", "f1_macro", "map")}
            history = {
                "val/acc": val.tolist(),
                "train/loss": (2 * np.exp(-time / 8)).tolist(),
                "schedule/steps": [100.0] * epochs,
                "schedule/samples": np.minimum(48, 10 + (2 + place % 3) * time).astype(float).tolist(),
            }
            results[name].append(Result(metrics, history, 20.0 + place % 7, Path(f"no-folder/{name}")))
    return results


def add_imbalance(results, modalities, every=4):
    """Add to the history of each training what is measured after each of `every` epochs, different in each seed."""
    task = Task(3, tuple(modalities))
    columns = [one.column for metric in metrics_of(ImbalanceMetric, task) for one in metric.series(task.modalities, "")]
    for trials in results.values():
        for seed, trial in enumerate(trials):
            epochs = len(trial.history["schedule/steps"])
            for place, column in enumerate(columns):
                values = [0.01 * (place + seed) + 0.001 * epoch for epoch in range(epochs)]
                due = [(epoch + 1) % every == 0 for epoch in range(epochs)]
                trial.history[column] = [v if d else np.nan for v, d in zip(values, due, strict=True)]
            for place, name in enumerate(modalities):
                trial.history[f"val/acc_{name}"] = [0.4 + 0.01 * (place + seed) + 0.01 * e for e in range(epochs)]
    return results


def compared(rows, steps, strategies=MappingProxyType({})):
    """The comparison of test accuracies in percent, [seeds], and `steps`, each of rows such as ``bss-h+ogm``."""
    first = next(iter(rows.values()))
    combinations = [Combination(*name.split("+")) for name in rows]
    config = SimpleNamespace(
        protocol="honest",
        seeds=tuple(range(len(first))),
        compare=CompareConfig(resamples=1000),
        combinations=tuple(combination.name for combination in combinations),
        strategies=strategies,
        network=SimpleNamespace(loss_weights=LossWeights()),
    )
    results = {
        name: [
            Result(
                {"protocol": "honest", "test/acc": x / 100, "last/test_acc": x / 100, "val/acc": x / 100}
                | {"selected_epoch": 1, "steps": steps[name], "flops": 10**9 * steps[name]},
                {},
                1.0,
                None,
            )
            for x in row
        ]
        for name, row in rows.items()
    }
    return compare_results(config, results, 10**6)
