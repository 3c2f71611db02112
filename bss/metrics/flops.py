"""FLOPs: the floating-point operations that an epoch's training took."""

from bss.metrics.base import TrainingMetric

METRIC = TrainingMetric.recorded(
    "flops",
    history="train/flops",
    label="floating-point operations",
    better="lower",
    optional=True,
    order=105,
    dvc=False,
    mlflow=False,
)
