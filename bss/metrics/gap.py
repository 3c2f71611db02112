"""Gap: how far the accuracies of the modalities' heads lie apart."""

from bss.metrics.base import BalanceMetric

METRIC = BalanceMetric(
    name="gap",
    label="gap between modalities",
    compute=lambda balance: max(balance.accuracies.values()) - min(balance.accuracies.values()),
    order=70,
    plotted=False,
)
