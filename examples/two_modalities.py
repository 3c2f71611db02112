"""What the examples share: generated data of two modalities, a late-fusion network, its loss, and what is run."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot
from torch.utils.data import TensorDataset

from bss.balance import Heuristic, Learned, Pacing, SequenceSampler

SAMPLES, CLASSES, WIDTH = 192, 4, 6
CONTRADICTING = 48
"""In the first samples the image shows another class than the label says."""


def make_data() -> TensorDataset:
    """Return samples (audio [WIDTH], image [WIDTH], label)."""
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (SAMPLES,), generator=random)
    shown = labels.clone()
    shown[:CONTRADICTING] += torch.randint(1, CLASSES, (CONTRADICTING,), generator=random)
    shown %= CLASSES
    audio, image = (
        3 * one_hot(classes, WIDTH) + torch.randn(SAMPLES, WIDTH, generator=random) for classes in (labels, shown)
    )
    return TensorDataset(audio, image, labels)


class Network(nn.Module):
    """One linear head per modality; the prediction is the sum of their logits."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, CLASSES) for name in ("audio", "image")})

    def forward(self, audio: Tensor, image: Tensor) -> dict[str, Tensor]:
        """Return the unimodal logits, [batch, CLASSES] each."""
        return {"audio": self.heads["audio"](audio), "image": self.heads["image"](image)}


def per_sample_loss(logits: dict[str, Tensor], labels: Tensor) -> Tensor:
    """Return the loss of each sample, [batch]: of the fused prediction and of each modality."""
    parts = [sum(logits.values()), *logits.values()]
    return torch.stack([cross_entropy(part, labels, reduction="none") for part in parts]).sum(dim=0)


def run(train: Callable[..., SequenceSampler]) -> None:
    """Train with BSS-L, which measures scores in the loop, then with BSS-H on the ranking by these scores."""
    with tempfile.TemporaryDirectory() as folder:
        scores = train(Learned(beta=0.6), Path(folder)).scores
    with tempfile.TemporaryDirectory() as folder:
        sampler = train(Heuristic(Pacing(start=0.3, grow_epochs=4), trim=0.2), Path(folder), scores=scores)
    lowest = scores.argsort()[:CONTRADICTING]
    print(f"{(lowest < CONTRADICTING).mean():.0%} of the {CONTRADICTING} lowest scores belong to contradicting samples")
    print(f"BSS-H showed {len(set(sampler.sequence.tolist()))} of {SAMPLES} samples in its last epoch")
