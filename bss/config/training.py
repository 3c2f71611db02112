"""The section `train` of params.yaml; the text under a field is its documentation."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from bss.balance.checks import require

Precision = Literal["fp32", "bf16"]


def _no_number(value: Any) -> Any:
    # To Python 1 is True, and a Literal would take it.
    require(isinstance(value, bool | str), "compile", value, "false, true or graphs")
    return value


Compile = Annotated[Literal[False, True, "graphs"], BeforeValidator(_no_number)]

RESOURCES = ("processes", "nodes")
"""Keys of `train` that tell what a training runs on, not what it computes: it may go on with others."""


@dataclass(frozen=True)
class SgdConfig:
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"]
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "greater than 0")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "in [0, 1)")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "at least 0")


@dataclass(frozen=True)
class AdamConfig:
    """Adam."""

    kind: Literal["adam"]
    learning_rate: float = 0.001
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "greater than 0")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "at least 0")


OptimiserConfig = Annotated[SgdConfig | AdamConfig, Field(discriminator="kind")]


@dataclass(frozen=True)
class StepDecay:
    """The learning rate is multiplied by `factor` at the start of each epoch in `at` (counted from 0)."""

    at: tuple[int, ...] = ()
    factor: float = 0.1

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(all(epoch >= 1 for epoch in self.at), "at", self.at, "epochs of at least 1")
        require(0 < self.factor <= 1, "factor", self.factor, "in (0, 1]")


@dataclass(frozen=True)
class TrainConfig:
    """How the network is trained; the warm-up of measuring takes the same batches, optimiser and precision."""

    optimiser: OptimiserConfig
    epochs: int = 30
    """Passes over the data, or over the open part of it, at least 1."""
    batch_size: int = 64
    """Samples per step, over all processes together; at least 2, and 2 per process."""
    decay: StepDecay = field(default_factory=StepDecay)
    """When the learning rate falls."""
    processes: int = 1
    """Processes (ranks) of one training on one machine, one GPU each where there are GPUs.

    They share every batch: batches, sequences and steps are those of one process. Gradients are those of
    the mean over the whole batch, batch normalisation takes its statistics over the whole batch, dropout
    draws for the whole batch, and evaluation and measuring are spread, so a result differs from that of one
    process by the order of floating-point sums alone; the same number of processes gives the same bytes again.
    It is no part of what a training is: a finished one is kept and a stopped one goes on with another number,
    which its provenance.json tells. Measuring's warm-up takes one process.
    """
    nodes: int = 1
    """Machines of one training, through the Kubeflow Trainer; there are nodes x processes ranks, and it may go on
    with another number as with other processes.

    Pods on a cluster, containers elsewhere; resources.staging says how files reach them.
    """
    precision: Precision = "fp32"
    """bf16 multiplies in 16 bits (torch.autocast), in training, evaluation and, without measure.precision, measuring.

    Weights, losses, scores and normalisation statistics stay in 32 bits. On a CPU it is refused for convolutions
    with a stride over maps of one pixel, for which torch leaves parts of a gradient undefined.
    """
    compile: Compile = False
    """How training steps are made faster; evaluation and measuring take the network as it is.

    true: they run code that torch.compile makes of the network, with a slow start and other rounding. graphs: on a GPU
    each step is launched as one CUDA graph, for small networks, whose kernels take less time than launching them; the
    last, smaller batch of an epoch is launched kernel by kernel. For one process; no effect on a CPU.
    """
    accumulate: int = 1
    """Parts that each batch is cut into, one after the other, with one update for all: less memory. The gradient is
    that of the whole batch, but batch normalisation takes its statistics over each part. At least 2 samples each."""
    drop_last: bool = False
    """True leaves out the last batch of an epoch, warm-up included, if it is not full, as the scripts do; the recorded
    sequence has it all the same. False trains on it; a single sample joins the batch before."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        require(self.batch_size >= 2, "batch_size", self.batch_size, "at least 2")
        require(self.processes >= 1, "processes", self.processes, "at least 1")
        require(self.nodes >= 1, "nodes", self.nodes, "at least 1")
        require(self.accumulate >= 1, "accumulate", self.accumulate, "at least 1")
        parts = self.nodes * self.processes
        alone = "true or false with several processes or nodes"
        require(self.compile != "graphs" or parts == 1, "compile", self.compile, alone)
        least = 2 * parts * self.accumulate
        right = f"at least {least}, 2 for each of {self.nodes} x {self.processes} processes (nodes x processes)"
        right += f" and {self.accumulate} parts (accumulate)" * (self.accumulate > 1)
        require(self.batch_size >= least, "batch_size", self.batch_size, right)
