"""Modules of "the user's own code" for the tests of kind `python`, as source."""

SOURCE = """
import math

import torch
from torch import nn

from own.parts import hidden


class Net(nn.Module):
    def __init__(self, inputs, width=5, spare=False):
        super().__init__()
        self.first = nn.Linear(inputs, hidden())
        self.second = nn.Linear(hidden(), width)
        if spare:
            self.spare = nn.Linear(2, 2)

    def forward(self, x):
        return self.second(self.first(x.float().flatten(1)).relu())


def net(inputs, width=5, spare=False):
    return Net(inputs, width, spare)


def a_class():
    return Net


def no_module():
    return "a text"


def fails():
    raise ValueError("no such size")


class Wrong(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how = how
        self.layer = nn.Linear(3, 5)

    def forward(self, x):
        y = self.layer(x.flatten(1)[:, :3])
        return {"tuple": (y,), "map": y[:, :, None], "sum": y.sum(), "nan": y / 0 * 0, "double": y.double()}[self.how]


def wrong(how):
    return Wrong(how)


class Inner(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how = how
        self.register_buffer("usual", torch.zeros(5))

    def forward(self, y):
        if self.how == "followed":
            self.usual.mul_(0.99).add_(0.01 * y.detach().mean(0))
            return y
        if self.how == "drawn seldom":
            return y * (torch.rand(len(y), 1) > 1e-6)
        if self.how == "drawn":
            return y * torch.rand_like(y)
        if self.how == "drawn a little":
            return y * (1 + 0.005 * torch.rand_like(y))
        return {"centred": y - y.mean(0), "dropped": nn.functional.dropout(y), "plain": y.relu()}[self.how]


def shared(how):
    linear = nn.utils.parametrizations.spectral_norm(nn.Linear(36, 5))
    return nn.Sequential(nn.Flatten(), linear, nn.BatchNorm1d(5), Inner(how), nn.Dropout(0.5))


def tokens(known):
    return nn.EmbeddingBag(known, 5)


def leaves():
    raise SystemExit(2)


def convolutions(norm="plain"):
    normalise = {
        "plain": nn.BatchNorm2d(4),
        "no affine": nn.BatchNorm2d(4, affine=False),
        "synchronised": nn.SyncBatchNorm(4),
        "dropped": nn.Dropout2d(0.5),
    }[norm]
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), normalise, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
"""
PARTS = """
from .sizes import WIDTH


def hidden():
    return WIDTH
"""


def write_modules(folder):
    """Write the package ``own`` into `folder`."""
    package = folder / "own"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "nets.py").write_text(SOURCE, encoding="utf-8")
    (package / "parts.py").write_text(PARTS, encoding="utf-8")
    (package / "sizes.py").write_text("WIDTH = 7\n", encoding="utf-8")
    (package / "unused.py").write_text("OTHER = 1\n", encoding="utf-8")
