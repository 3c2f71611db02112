"""FLOPs: the floating-point operations that an epoch's training took."""

from bss.metrics.base import TrainingMetric

METRIC = TrainingMetric(
    name="flops",
    history="train/flops",
    label="floating-point operations",
    better="lower",
    unit="",
    compute=lambda trained: trained.flops,
    optional=True,
    order=105,
    dvc=False,
    plotted=False,
    mlflow=False,
)
