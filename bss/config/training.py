"""The section `train` of params.yaml; the text under a field is its documentation."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from bss.balance.checks import require
from bss.config.decay import CosineDecay, DecayConfig, StepDecay
from bss.config.early_stopping import EarlyStopping

Precision = Literal["fp32", "bf16"]


def _no_number(value: Any) -> Any:
    # In Python 1 == True, so a Literal would accept it.
    require(isinstance(value, bool | str), "compile", value, "false, true or graphs")
    return value


Compile = Annotated[Literal[False, True, "graphs"], BeforeValidator(_no_number)]


def _weights(value: Any) -> Any:
    right = "null, balanced or a table of classes and weights above 0"
    require(value is None or value == "balanced" or isinstance(value, dict), "class_weights", value, right)
    for name, weight in value.items() if isinstance(value, dict) else ():
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        require(number and weight > 0, f"class_weights.{name}", weight, "a number above 0")
    return value


ClassWeights = Annotated[dict[str, float] | Literal["balanced"] | None, BeforeValidator(_weights)]

RESOURCES = ("processes", "nodes")
"""Keys of `train` that choose hardware, not results. A run may resume with different values."""


class _Optimiser:
    """The checks of what all optimisers have."""

    learning_rate: float
    weight_decay: float

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "greater than 0")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "at least 0")


@dataclass(frozen=True)
class SgdConfig(_Optimiser):
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"]
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        require(0 <= self.momentum < 1, "momentum", self.momentum, "in [0, 1)")


@dataclass(frozen=True)
class AdamConfig(_Optimiser):
    """Adam."""

    kind: Literal["adam"]
    learning_rate: float = 0.001
    weight_decay: float = 0.0


@dataclass(frozen=True)
class AdamWConfig(_Optimiser):
    """AdamW (Loshchilov and Hutter, 2019): Adam whose weight decay is not part of the gradient."""

    kind: Literal["adamw"]
    learning_rate: float = 0.001
    weight_decay: float = 0.01


OptimiserConfig = Annotated[SgdConfig | AdamConfig | AdamWConfig, Field(discriminator="kind")]


@dataclass(frozen=True)
class TrainConfig:
    """How the network is trained; the warm-up of measuring has the same steps, at a constant rate."""

    optimiser: OptimiserConfig
    epochs: int = 30
    """Passes over the data, or over the part that the pacing has opened, at least 1."""
    batch_size: int = 64
    """Samples per step, over all processes together; at least 2, and 2 per process."""
    decay: DecayConfig = field(default_factory=StepDecay)
    """How the learning rate decays: in steps, `{at: [...], factor: ...}`, or `{kind: cosine, ...}`."""
    clip: float | None = None
    """Greatest norm of the gradient of all parameters together, above 0: a longer one is scaled down to it before the
    update (gradient clipping), also in the warm-up. null: never. A strategy with several updates per batch has each
    one clipped."""
    label_smoothing: float = 0.0
    """Share of each target that is spread over all classes in the training loss, in [0, 1); scores, metrics and
    `train/loss` keep the labels. Refused with strategies whose loss does not follow it, and not in the warm-up."""
    class_weights: ClassWeights = None
    """Factors of the training loss of each class's samples, such as `{rare: 5}`, where the others have 1;
    balanced: n / (classes x samples of the class). Like `label_smoothing` otherwise."""
    ema: float | None = None
    """Decay per step of a moving average of the weights, such as 0.99, in (0, 1): the average is evaluated, selected
    and saved, while training, scores and strategies see the weights themselves. Running statistics of batch
    normalisation are averaged too. null: none."""
    early_stopping: EarlyStopping | None = None
    """End a trial whose accuracy on val does not rise any more, `{patience: 5, min_delta: 0}`; null trains all
    epochs. Schedules keep the clock of `epochs`. Only with protocol honest."""
    processes: int = 1
    """Processes (ranks) of one trial on one machine, each with its own GPU if there are GPUs.

    They share every batch: batches, sequences and steps are those of one process. Gradients are those of
    the mean over the whole batch, batch normalisation uses statistics of the whole batch, dropout
    draws for the whole batch, and evaluation and measuring are sharded, so a result differs from that of one
    process only by the order of floating-point sums; the same number of processes gives the same bytes.
    It does not identify a trial: with another number, a finished one is kept and a stopped one resumes,
    as its provenance.json records. Measuring's warm-up uses one process.
    """
    nodes: int = 1
    """Machines of one trial, through the Kubeflow Trainer; there are nodes x processes ranks, and it may resume
    with another number, like `processes`.

    Pods on a cluster, containers elsewhere; they get their files through resources.staging.
    """
    precision: Precision = "fp32"
    """bf16 multiplies in 16 bits (torch.autocast), in training, evaluation and, without measure.precision, measuring.

    Weights, losses, scores and normalisation statistics stay in 32 bits. On a CPU it is refused for convolutions
    with a stride over maps of one pixel, for which torch leaves parts of a gradient undefined.
    """
    compile: Compile = False
    """How to speed up training steps; evaluation and measuring run the network eagerly.

    true: torch.compile, with a slow start, different rounding and other draws of dropout. graphs: on a GPU
    each step is launched as one CUDA graph, for small networks whose kernels run faster than they launch; the
    last, smaller batch of an epoch is launched kernel by kernel. Needs one process; no effect on a CPU.
    """
    accumulate: int = 1
    """Micro-batches per batch, with one update for all (gradient accumulation): saves memory. The gradient is
    that of the whole batch, but batch normalisation uses statistics of each part. At least 2 samples per part."""
    drop_last: bool = False
    """True drops the last batch of an epoch, warm-up included, if it is not full, like the scripts; the recorded
    sequence still contains it. False trains on it; a single sample joins the previous batch."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        require(self.batch_size >= 2, "batch_size", self.batch_size, "at least 2")
        require(self.processes >= 1, "processes", self.processes, "at least 1")
        require(self.nodes >= 1, "nodes", self.nodes, "at least 1")
        require(self.accumulate >= 1, "accumulate", self.accumulate, "at least 1")
        require(self.clip is None or self.clip > 0, "clip", self.clip, "null or greater than 0")
        parts = self.nodes * self.processes
        alone = "true or false with several processes or nodes"
        require(self.compile != "graphs" or parts == 1, "compile", self.compile, alone)
        require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "in [0, 1)")
        require(self.ema is None or 0 < self.ema < 1, "ema", self.ema, "null or in (0, 1)")
        if isinstance(self.decay, CosineDecay):
            each = "false or true with decay: cosine, whose rate changes in every step; a graph bakes it in"
            require(self.compile != "graphs", "compile", self.compile, each)
            warmup, fewer = self.decay.warmup_epochs, f"less than epochs ({self.epochs})"
            require(warmup < self.epochs, "decay.warmup_epochs", warmup, fewer)
        least = 2 * parts * self.accumulate
        right = f"at least {least}, 2 for each of {self.nodes} x {self.processes} processes (nodes x processes)"
        right += f" and {self.accumulate} parts (accumulate)" * (self.accumulate > 1)
        require(self.batch_size >= least, "batch_size", self.batch_size, right)


def with_epochs(train: TrainConfig, epochs: int) -> TrainConfig:
    """Return `train` with another number of epochs; decays of the learning rate move in proportion."""
    if epochs == train.epochs:
        return train
    return replace(train, epochs=epochs, decay=train.decay.stretched(train.epochs, epochs))
