"""Mean contribution of each modality to the training samples (Wei et al., CVPR 2024)."""

from bss.metrics.base import Reading
from bss.metrics.final import ContributionMetric
from bss.metrics.shapley import few

METRIC = ContributionMetric(
    name="sample_contribution_{modality}",
    label="contribution of {modality} to a sample",
    unit="",
    compute=lambda contributed: {name: float(phi.mean()) for name, phi in contributed.contributions.items()},
    order=310,
    applies=few,
    reading=Reading(
        "contribution per sample",
        "The modality's mean share in correct predictions of training samples. All modalities together have at most "
        "their number.",
    ),
)
