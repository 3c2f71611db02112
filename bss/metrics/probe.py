"""Linear probe: the accuracy of a fresh linear classifier on each modality's features."""

from bss.metrics.base import Reading
from bss.metrics.final import ProbeMetric

METRIC = ProbeMetric(
    name="probe_{modality}",
    label="linear probe of {modality}",
    better="higher",
    compute=lambda probed: probed.accuracy,
    order=300,
    reading=Reading(
        "linear probe",
        "How often a fresh linear classifier on the encoder's features is right on test. It measures the encoder "
        "alone: far above the accuracy of the head, the head lags behind its encoder.",
    ),
)
