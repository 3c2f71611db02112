"""What strategies draw: a function of seed, epoch, step and place alone, whatever the number of ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bss.balance.draw import generator
from bss.lazy_torch import torch


@dataclass(frozen=True)
class Draw:
    """The draws of one step, or of one part of its batch."""

    seed: int
    epoch: int
    step: int
    device: torch.device
    part: int = 0
    length: int = 0
    """Samples of the part over all ranks."""
    rank: int = 0
    ranks: int = 1

    def host(self, purpose: str) -> np.random.Generator:
        """Return a generator of numbers that the host draws; `purpose` distinguishes several of one step."""
        return generator(self.seed, f"strategy {purpose} {self.step} {self.part}", self.epoch)

    def generator(self, purpose: str) -> torch.Generator:
        """Return a generator on the device."""
        return torch.Generator(self.device).manual_seed(int(self.host(purpose).integers(2**63)))

    def uniform(self, purpose: str, *shape: int) -> torch.Tensor:
        """Return uniform draws in [0, 1), float32 [batch, *shape], this rank's rows of those for the global part."""
        drawn = torch.rand(self.length, *shape, generator=self.generator(purpose), device=self.device)
        return drawn[self.rank :: self.ranks]
