"""Every parameter of params.yaml: its type, its default, its range and what it does.

One frozen dataclass per section; the text under a field is its documentation. Nothing here reads a
file: `bss.config.load` does, and reports what is wrong with the key's full name.
"""

import re
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, get_args, get_type_hints

from pydantic import Field

from bss.balance.checks import require
from bss.balance.schedulers import Heuristic, Learned, Uniform
from bss.balance.score import BalanceScore
from bss.config.crop import CROPPED, Crop
from bss.config.encoders import AnyEncoderConfig, EncoderConfig
from bss.config.fusion import Concatenation, Film, FusionConfig
from bss.config.modalities import ClipKind, FlowKind, FramesKind, ImageKind, ModalityKind

Protocol = Literal["honest", "published"]
Precision = Literal["fp32", "bf16"]

S3_FOLDER = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^/].*")


@dataclass(frozen=True)
class DigitsConfig:
    """The built-in data: spoken-digit-like sounds paired with handwritten digits."""

    seed: int = 0
    """Decides every sound, pair and fault."""
    contradicting: float = 0.4
    """Share of train and val pairs with one modality taken from another class, in [0, 1]."""
    noisy: float = 0.0
    """Share of train and val pairs with one modality drowned in noise, in [0, 1 - contradicting]."""
    audio_advantage: float = 0.0
    """How much easier audio is than image, in [-1, 1]: more noise on the one, less on the other."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.seed >= 0, "seed", self.seed, "at least 0")
        require(0 <= self.contradicting <= 1, "contradicting", self.contradicting, "in [0, 1]")
        require(0 <= self.noisy <= 1 - self.contradicting, "noisy", self.noisy, "in [0, 1 - contradicting]")
        require(-1 <= self.audio_advantage <= 1, "audio_advantage", self.audio_advantage, "in [-1, 1]")


@dataclass(frozen=True)
class GenerateConfig:
    """Which built-in data is generated, into data/<name>; `{}` generates none."""

    digits: DigitsConfig | None = None
    """Audio-visual digits."""


@dataclass(frozen=True)
class PrepareConfig:
    """What is decoded into the store."""

    root: str
    """Folder of the raw data; DVC watches all of it."""
    modalities: dict[str, ModalityKind]
    """Modality name (= column of the manifest) to how its files are decoded; two or more."""
    source: str | None = None
    """A published dataset whose own layout is read, such as crema-d (`bss presets` lists them); null reads
    `manifest`."""
    manifest: str = "manifest.csv"
    """CSV or Parquet file inside `root`: columns id, label, split, optional group, one per modality, and
    <modality>_start, <modality>_end for parts of files."""
    truth: str | None = None
    """CSV inside `root` that tells which pairs are known to be bad (columns id, kind); evaluation only."""
    val_share: float = 0.2
    """Share of train that becomes val where the manifest has no val, in (0, 0.5]."""
    on_bad_sample: Literal["error", "skip"] = "error"
    """A file that cannot be decoded stops preparation, or its sample is skipped and listed."""

    def __post_init__(self) -> None:
        """Check names and ranges."""
        require(len(self.modalities) >= 2, "modalities", list(self.modalities), "two or more")
        reserved = {"index", "id", "label", "label_name", "split", "group"}
        reserved |= {f"{name}_{end}" for name in self.modalities for end in ("start", "end")}
        for name in self.modalities:
            right = f"a name of letters, digits and _ that is none of {sorted(reserved)}"
            require(name.isidentifier() and name not in reserved, "modalities", name, right)
        require(0 < self.val_share <= 0.5, "val_share", self.val_share, "in (0, 0.5]")


@dataclass(frozen=True)
class MeasureConfig:
    """How the balance score is measured."""

    warmup_epochs: int = 3
    """Epochs of uniform training before measuring; 0 measures the freshly initialised network."""
    score: BalanceScore = field(default_factory=BalanceScore)
    """The criteria and how they are normalised."""

    def __post_init__(self) -> None:
        """Check the range."""
        require(self.warmup_epochs >= 0, "warmup_epochs", self.warmup_epochs, "at least 0")


@dataclass(frozen=True)
class LossWeights:
    """Weights of the training loss ``fused * CE(fused) + unimodal * sum of CE(modality)``."""

    fused: float = 1.0
    """The paper's a_multi (CREMA-D: 0.1)."""
    unimodal: float = 1.0
    """The paper's a_uni (CREMA-D: 0.9)."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.fused >= 0, "fused", self.fused, "at least 0")
        require(self.unimodal >= 0, "unimodal", self.unimodal, "at least 0")
        require(self.fused + self.unimodal > 0, "unimodal", self.unimodal, "greater than 0 where fused is 0")


@dataclass(frozen=True)
class NetworkConfig:
    """One encoder per modality, a head on each, and a fusion head."""

    encoders: dict[str, EncoderConfig]
    """Modality name to its encoder; the same names as prepare.modalities."""
    fusion: FusionConfig = field(default_factory=Concatenation)
    """How the features are fused."""
    loss_weights: LossWeights = field(default_factory=LossWeights)
    """The training loss."""
    prediction: Literal["all-heads", "unimodal-heads"] = "all-heads"
    """Argmax of the sum of all logits, or of the unimodal ones alone (CREMA-D in the paper)."""

    def __post_init__(self) -> None:
        """Check what concerns encoders and fusion at once."""
        if isinstance(self.fusion, Film) and self.fusion.conditioner is not None:
            known = list(self.encoders)
            right = f"null or one of the modalities {known}"
            require(self.fusion.conditioner in known, "fusion.conditioner", self.fusion.conditioner, right)


@dataclass(frozen=True)
class UniformEntry(Uniform):
    """Uniform shuffling."""

    kind: Literal["uniform"] = "uniform"


@dataclass(frozen=True)
class HeuristicEntry(Heuristic):
    """BSS-H, its reversal, its trimming, and the random-ranking control."""

    kind: Literal["heuristic"] = "heuristic"
    scores: Literal["warm-up", "initial"] = "warm-up"
    """Scores after the warm-up, or of the freshly initialised network in train mode (the scripts)."""


@dataclass(frozen=True)
class LearnedEntry(Learned):
    """BSS-L."""

    kind: Literal["learned"] = "learned"
    scores: Literal["warm-up", "initial"] = "warm-up"
    """The first measurement: after the warm-up, or of the freshly initialised network (the scripts)."""
    measuring: Literal["full", "online"] = "full"
    """Measure again with a pass over the training set, or from the logits of the training pass."""
    mode: Literal["eval", "train"] = "eval"
    """Mode of the network in a full pass; train moves the batch-norm statistics, as the scripts do."""


SchedulerEntry = Annotated[UniformEntry | HeuristicEntry | LearnedEntry, Field(discriminator="kind")]


@dataclass(frozen=True)
class ScheduleConfig:
    """The schedulers that are compared."""

    schedulers: dict[str, SchedulerEntry]
    """A name of your choice to a scheduler."""

    def __post_init__(self) -> None:
        """Check the names: they become folders and metric names."""
        require(bool(self.schedulers), "schedulers", {}, "one or more")
        for name in self.schedulers:
            ok = name.replace("-", "").replace("_", "").isalnum() and name.isascii() and name.lower() == name
            require(ok, "schedulers", name, "a name of lower-case letters, digits, - and _")


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
    the mean over the whole batch, batch normalisation takes its statistics over the whole batch, and
    evaluation and measuring are spread, so a result differs from that of one process by the order of
    floating-point sums, and by what dropout draws; the same number of processes gives the same bytes again.
    Measuring's warm-up takes one process.
    """
    nodes: int = 1
    """Machines of one training, through the Kubeflow Trainer; there are nodes x processes ranks.

    Pods on a cluster, containers elsewhere; resources.staging says how files reach them.
    """
    precision: Precision = "fp32"
    """bf16 multiplies in 16 bits (torch.autocast), in training, measuring and evaluation alike.

    Weights, losses, scores and normalisation statistics stay in 32 bits. On a CPU it is refused for convolutions
    with a stride over maps of one pixel, for which torch leaves parts of a gradient undefined.
    """
    compile: bool = False
    """Training steps run code that torch.compile makes of the network: a slow start, then faster steps. It rounds
    otherwise than without."""
    accumulate: int = 1
    """Parts that each batch is cut into, one after the other, with one update for all: less memory. The gradient is
    that of the whole batch, but batch normalisation takes its statistics over each part. At least 2 samples each."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        require(self.batch_size >= 2, "batch_size", self.batch_size, "at least 2")
        require(self.processes >= 1, "processes", self.processes, "at least 1")
        require(self.nodes >= 1, "nodes", self.nodes, "at least 1")
        require(self.accumulate >= 1, "accumulate", self.accumulate, "at least 1")
        parts = self.nodes * self.processes
        least = 2 * parts * self.accumulate
        right = f"at least {least}, 2 for each of {self.nodes} x {self.processes} processes (nodes x processes)"
        right += f" and {self.accumulate} parts (accumulate)" * (self.accumulate > 1)
        require(self.batch_size >= least, "batch_size", self.batch_size, right)


@dataclass(frozen=True)
class CompareConfig:
    """What every scheduler is compared with."""

    baseline: str = "uniform"
    """Name of a scheduler: uniform shuffling."""
    control: str | None = None
    """Name of a scheduler: the random ranking with the same pacing; null compares with the baseline alone."""
    resamples: int = 10_000
    """Bootstrap resamples behind each interval, at least 1000."""

    def __post_init__(self) -> None:
        """Check the range."""
        require(self.resamples >= 1000, "resamples", self.resamples, "at least 1000")


@dataclass(frozen=True)
class TrackingConfig:
    """What goes to MLflow; where it goes is told by MLFLOW_TRACKING_URI (default sqlite:///mlflow.db)."""

    enabled: bool = True
    """False trains without MLflow."""
    experiment: str | None = None
    """Name of the experiment; null takes the name of the data's folder."""
    models: Literal["all", "first-seed", "none"] = "first-seed"
    """Which trained models are logged."""
    sequences_mib: int = 64
    """Sequences are logged in full up to this size per run, beyond it as digests."""
    strict: bool = False
    """True ends the work at once where MLflow does not answer; false goes on and leaves the records to `bss sync`."""


@dataclass(frozen=True)
class CheckpointsConfig:
    """How often a training saves where it stands, to go on from there after a stop."""

    minutes: float | None = 5.0
    """A checkpoint at the first step after so many minutes; null: not by time."""
    steps: int | None = None
    """A checkpoint after so many steps; null: not by steps."""
    keep: int = 2
    """The last so many are kept, in case the newest is damaged."""
    store: str | None = None
    """Place on an object store, s3://bucket/prefix, that gets each checkpoint too; null: they stay on this disk.

    There a training goes on from when its disk is gone, as that of a pod. They are named by the digest of all that
    decides the training, and removed when it is finished.
    """

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.minutes is None or self.minutes > 0, "minutes", self.minutes, "null or greater than 0")
        require(self.steps is None or self.steps >= 1, "steps", self.steps, "null or at least 1")
        require(self.keep >= 1, "keep", self.keep, "at least 1")
        ok = self.store is None or S3_FOLDER.fullmatch(self.store) is not None
        require(ok, "store", self.store, "null or a place on an object store, s3://bucket/prefix")


@dataclass(frozen=True)
class ResourcesConfig:
    """What of the machine is used; none of it changes a result on CPU."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes a GPU where there is one."""
    jobs: int | None = None
    """Trainings at a time; null: as many as processors allow (train.processes each) on CPU, one on GPUs or nodes."""
    staging: str | None = None
    """Place on an object store, s3://bucket/prefix, through which the nodes of a training get their files.

    Needed where train.nodes is greater than 1. A training's own files there are removed when it ends; the
    store, below `stores/<digest>`, stays for the next one.
    """
    checkpoints: CheckpointsConfig = field(default_factory=CheckpointsConfig)
    """Beside the folder of a training until it is finished."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.jobs is None or self.jobs >= 1, "jobs", self.jobs, "null or at least 1")
        ok = self.staging is None or S3_FOLDER.fullmatch(self.staging) is not None
        require(ok, "staging", self.staging, "null or a place on an object store, s3://bucket/prefix")


@dataclass(frozen=True)
class Config:
    """The whole of params.yaml."""

    # Strict types, and unknown keys are errors, here and in every section below.
    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "strict": True}

    prepare: PrepareConfig
    network: NetworkConfig
    schedule: ScheduleConfig
    train: TrainConfig
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Each scheduler is trained once per seed; comparisons are paired by seed."""
    protocol: Protocol = "honest"
    """honest: checkpoint chosen on val, test read once; published: best test epoch, as the authors do."""
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    compare: CompareConfig = field(default_factory=CompareConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    resources: ResourcesConfig = field(default_factory=ResourcesConfig)

    def __post_init__(self) -> None:
        """Check what concerns two sections at once."""
        seeds_ok = bool(self.seeds) and len(set(self.seeds)) == len(self.seeds) and min(self.seeds) >= 0
        require(seeds_ok, "seeds", list(self.seeds), "one or more different numbers of at least 0")
        found, right = sorted(self.network.encoders), sorted(self.prepare.modalities)
        require(found == right, "network.encoders", found, f"the modalities of prepare.modalities, {right}")
        for name, modality in self.prepare.modalities.items():
            _check_encoder(name, self.network.encoders[name], modality)
        place = f"s3://bucket/prefix, because train.nodes is {self.train.nodes}: nodes get their files there"
        require(self.train.nodes == 1 or self.resources.staging is not None, "resources.staging", None, place)
        names = sorted(self.schedule.schedulers)
        for key, value in (("baseline", self.compare.baseline), ("control", self.compare.control)):
            require(value is None or value in names, f"compare.{key}", value, f"one of the schedulers {names}")
        criteria = self.measure.score.criteria
        for name, entry in self.schedule.schedulers.items():
            online = isinstance(entry, LearnedEntry) and entry.measuring == "online"
            wanted = "full where the score needs gradient_magnitude, which the training pass does not give"
            bad = online and "gradient_magnitude" in criteria
            require(not bad, f"schedule.schedulers.{name}.measuring", "online", wanted)


def _check_encoder(name: str, encoder: AnyEncoderConfig, modality: ModalityKind) -> None:
    """Check that modality `name` has an encoder for its kind, a spectrogram where it is audio, a crop that fits."""
    kind = modality.kind
    fit = [get_args(get_type_hints(c)["kind"])[0] for c in get_args(AnyEncoderConfig) if kind in c.inputs]
    right = f"one that takes kind {kind}: {', '.join(fit)}"
    require(kind in encoder.inputs, f"network.encoders.{name}.kind", encoder.kind, right)
    has = getattr(encoder, "spectrogram", None) is not None
    wanted = "given for audio" if kind == "audio" else f"left out for kind {kind}"
    require(has == (kind == "audio"), f"network.encoders.{name}.spectrogram", has, wanted)
    crop: Crop | None = getattr(encoder, "crop", None)
    if crop is not None:
        key = f"network.encoders.{name}.crop"
        require(kind in CROPPED, key, "a crop", f"null for kind {kind}")
        if isinstance(modality, ImageKind | FramesKind | ClipKind | FlowKind):
            frames = (modality.frames,) if isinstance(modality, ClipKind | FlowKind) else ()
            crop.check_fit(kind, (*frames, modality.height, modality.width), key)
