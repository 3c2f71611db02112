"""Mean balance score of the training samples."""

from bss.metrics.base import BalanceMetric
from bss.metrics.inputs import Balance


def _compute(balance: Balance) -> float | None:
    return None if balance.scores is None else float(balance.scores.mean())


METRIC = BalanceMetric(
    name="score_mean",
    label="mean balance score",
    unit="",
    compute=_compute,
    optional=True,
    order=110,
    dvc=False,
    plotted=False,
    mlflow=False,
)
