"""FLOPs: the floating-point operations that an epoch's training took.

Those of teachers belong to no epoch. The cost of a whole trial, ``flops`` in metrics.json, MLflow and the report, is
the sum over its epochs and its teachers' in full.
"""

from bss.metrics.base import TrainingMetric

METRIC = TrainingMetric.recorded(
    "flops",
    history="train/flops",
    label="floating-point operations",
    better="lower",
    optional=True,
    order=105,
    dvc=False,
)
