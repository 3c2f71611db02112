"""Every parameter of params.yaml: its type, its default, its range and what it does.

One frozen dataclass per section; the text under a field is its documentation. Nothing here reads a
file: `bss.config.load` does, and reports what is wrong with the key's full name.
"""

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from bss.balance.checks import require
from bss.balance.score import BalanceScore
from bss.config.audit import AuditConfig
from bss.config.combinations import check_combinations, combinations_of
from bss.config.modalities import ModalityKind
from bss.config.network import NetworkConfig, check_encoder
from bss.config.resources import ResourcesConfig
from bss.config.schedule import ScheduleConfig
from bss.config.strategies import StrategyEntry, check_strategies
from bss.config.training import Precision, TrainConfig
from bss.strategies.none import Plain

Protocol = Literal["honest", "published"]
Links = Literal["inside", "follow"]


@dataclass(frozen=True)
class DigitsConfig:
    """The built-in data: spoken-digit-like sounds paired with handwritten digits."""

    seed: int = 0
    """Seed of every sound, pair and fault."""
    contradicting: float = 0.4
    """Share of train and val pairs with one modality taken from another class, in [0, 1]."""
    noisy: float = 0.0
    """Share of train and val pairs with one modality drowned in noise, in [0, 1 - contradicting]."""
    audio_advantage: float = 0.0
    """How much easier audio is than image, in [-1, 1]: less noise on the easier one, more on the other."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.seed >= 0, "seed", self.seed, "at least 0")
        require(0 <= self.contradicting <= 1, "contradicting", self.contradicting, "in [0, 1]")
        require(0 <= self.noisy <= 1 - self.contradicting, "noisy", self.noisy, "in [0, 1 - contradicting]")
        require(-1 <= self.audio_advantage <= 1, "audio_advantage", self.audio_advantage, "in [-1, 1]")


@dataclass(frozen=True)
class GenerateConfig:
    """The built-in data to generate into data/<name>; `{}` generates none."""

    digits: DigitsConfig | None = None
    """Audio-visual digits."""


@dataclass(frozen=True)
class PrepareConfig:
    """What `bss prepare` decodes into the store."""

    root: str
    """Folder of the raw data, or s3://bucket/prefix; DVC watches all of it."""
    modalities: dict[str, ModalityKind]
    """Maps each modality (= column of the manifest) to how its files are decoded; two or more."""
    source: str | None = None
    """A published dataset to read in its original layout, such as crema-d (`bss presets` lists them); null reads
    `manifest`."""
    manifest: str = "manifest.csv"
    """CSV or Parquet file inside `root`: columns id, label, split, optional group, one per modality, and
    <modality>_start, <modality>_end for parts of files. Or a folder of a Hugging Face dataset, or a pattern such as
    {000..099}.tar for WebDataset shards and *.parquet for several files as one: docs/own-data.md."""
    truth: str | None = None
    """Ground truth: CSV inside `root` that lists known bad pairs (columns id, kind); for evaluation only."""
    val_share: float = 0.2
    """Share of train to split off as val if the manifest has no val, in (0, 0.5]."""
    on_bad_sample: Literal["error", "skip"] = "error"
    """If a manifest row is invalid or a file cannot be decoded: error stops the preparation, skip leaves out the sample
    and lists it."""
    shared_files: tuple[str, ...] = ()
    """Files inside `root` that several splits may share in protocol honest, such as a silent sound used if none
    was recorded. Copies under other names are allowed too."""
    decisions: str | None = None
    """What to do with single samples: CSV inside `root` (columns id, decision, value), as of `bss audit --apply`."""
    decide_test: bool = False
    """Whether decisions may change test samples; the report then mentions it."""
    links: Links = "inside"
    """Symbolic links in the data: inside follows those that stay in `root` or lead into this project's DVC cache;
    follow follows all, so the data's author can make you read any file that you have access to."""

    def __post_init__(self) -> None:
        """Check names and ranges."""
        require(len(self.modalities) >= 2, "modalities", list(self.modalities), "two or more")
        reserved = {"index", "id", "label", "label_name", "split", "group", "ignored"}
        reserved |= {f"{name}_{end}" for name in self.modalities for end in ("start", "end", "tokens")}
        for name in self.modalities:
            right = f"a name of letters, digits and _ other than {sorted(reserved)}"
            require(name.isidentifier() and name not in reserved, "modalities", name, right)
        require(0 < self.val_share <= 0.5, "val_share", self.val_share, "in (0, 0.5]")


@dataclass(frozen=True)
class MeasureConfig:
    """How the balance score is measured."""

    warmup_epochs: int = 3
    """Epochs of uniform training before measuring; 0 measures the freshly initialised network."""
    score: BalanceScore = field(default_factory=BalanceScore)
    """The criteria and how they are normalised."""
    initial_mode: Literal["train", "eval"] = "train"
    """Mode of the freshly initialised network when it measures ``scores: initial``; train augments and normalises
    with batch statistics, like the scripts for all datasets except Twitter-2015."""
    order: Literal["shuffled", "dataset"] = "shuffled"
    """How passes in train mode form batches: from a random permutation per pass, or from neighbours in the
    order of the dataset (the scripts). Has no effect in eval mode."""
    batch_size: int | None = None
    """Samples per batch in passes in train mode, at least 1; null uses train.batch_size. Batch normalisation of a
    single number per channel, as in `mlp`, needs 2."""
    precision: Precision | None = None
    """Precision of measuring passes: after the warm-up, of the initial network, and BSS-L's full ones; null uses
    train.precision.

    The warm-up and online scores come from training steps and use their precision; gradient_magnitude uses fp32.
    """

    def __post_init__(self) -> None:
        """Check the range."""
        require(self.warmup_epochs >= 0, "warmup_epochs", self.warmup_epochs, "at least 0")
        require(self.batch_size is None or self.batch_size >= 1, "batch_size", self.batch_size, "null or at least 1")


@dataclass(frozen=True)
class EvaluationConfig:
    """Classes over which per-class metrics are averaged, and how often imbalance is measured."""

    map_over: Literal["present", "all"] = "present"
    """Mean average precision: over the classes that occur among the labels of the split, or over all classes, where an
    absent one counts as 0 (the scripts)."""
    f1_over: Literal["present", "present-or-predicted"] = "present"
    """Macro-F1: over the classes that occur among the labels of the split, or also those predicted for any
    sample, where an absent one counts as 0 (the scripts)."""
    imbalance_every: int | None = None
    """Epochs between two measurements of how the modalities differ, at least 1; one follows the last epoch too, and
    linear probes of the trained network. null measures none. With 5 the measurements between epochs take 3 % of a
    training on the built-in data, the last one 2 %, and less if encoders are larger."""

    def __post_init__(self) -> None:
        """Check the range."""
        ok = self.imbalance_every is None or self.imbalance_every >= 1
        require(ok, "imbalance_every", self.imbalance_every, "null or at least 1")


@dataclass(frozen=True)
class CompareConfig:
    """How schedulers are compared."""

    baseline: str = "uniform"
    """Name of the uniform scheduler."""
    control: str | None = None
    """Name of the scheduler with a random ranking and the same pacing; null compares only with the baseline."""
    correction: Literal["max-t", "none"] = "max-t"
    """Correction for multiple comparisons: max-t, the joint sign-flip test, or none."""
    margin: float = 1.0
    """Largest irrelevant difference in points of accuracy, above 0: an interval inside ± margin is a verdict."""
    resamples: int = 10_000
    """Random sign vectors per sign-flip test, at least 1000; with up to 16 seeds all vectors are enumerated."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.margin > 0, "margin", self.margin, "above 0")
        require(self.resamples >= 1000, "resamples", self.resamples, "at least 1000")


@dataclass(frozen=True)
class TrackingConfig:
    """What is logged to MLflow, at MLFLOW_TRACKING_URI (default sqlite:///mlflow.db)."""

    enabled: bool = True
    """False trains without MLflow."""
    experiment: str | None = None
    """Name of the experiment; null uses the name of the data folder."""
    models: Literal["all", "first-seed", "none"] = "first-seed"
    """Which trained models are logged."""
    register: str | None = None
    """Name in MLflow's model registry under which `bss compare` registers the best model, with the alias ``best``;
    null registers none. Best on val: the scheduler (and strategy) with the highest mean accuracy over seeds, and its
    best seed. That model is logged even if `models` leaves it out."""
    system_metrics: bool = False
    """Log CPU, memory, disk, network and GPU use of the machine during each trial, every 10 seconds."""
    sequences_mib: int = 64
    """Sequences are logged in full up to this size per run, otherwise as digests."""
    strict: bool = False
    """If MLflow does not answer: true stops at once; false continues and leaves the upload to `bss sync`."""

    def __post_init__(self) -> None:
        """Check the name of the registered model."""
        if self.register is not None:
            right = "null or a name of letters, digits, spaces, _, - and ., which begins with a letter or digit"
            require(re.fullmatch(r"[^\W_][\w .-]*", self.register) is not None, "register", self.register, right)


@dataclass(frozen=True)
class Config:
    """The whole of params.yaml."""

    # Strict types; unknown keys are errors, here and in every section below.
    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "strict": True}

    prepare: PrepareConfig
    network: NetworkConfig
    schedule: ScheduleConfig
    train: TrainConfig
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    """Each scheduler is trained once per seed. Comparisons are paired by seed; a verdict needs at least six."""
    protocol: Protocol = "honest"
    """honest: checkpoint chosen on val, test evaluated once; published: best test epoch, like the authors."""
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    compare: CompareConfig = field(default_factory=CompareConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    resources: ResourcesConfig = field(default_factory=ResourcesConfig)
    strategies: dict[str, StrategyEntry] = field(default_factory=lambda: {"none": Plain()})
    """A name of your choice to a strategy: what changes a step of training besides the order of its samples. `none` is
    plain training, listed or not."""
    combinations: tuple[str, ...] | None = None
    """What is trained, each once per seed: ``scheduler`` (plain training) or ``scheduler+strategy``, where ``all``
    stands for every scheduler. Null: every scheduler plainly and with every strategy."""

    def __post_init__(self) -> None:
        """Check what depends on two sections."""
        seeds_ok = bool(self.seeds) and len(set(self.seeds)) == len(self.seeds) and min(self.seeds) >= 0
        require(seeds_ok, "seeds", list(self.seeds), "one or more different numbers of at least 0")
        found, right = sorted(self.network.encoders), sorted(self.prepare.modalities)
        require(found == right, "network.encoders", found, f"the modalities of prepare.modalities, {right}")
        for name, modality in self.prepare.modalities.items():
            check_encoder(name, self.network.encoders[name], modality)
        place = f"s3://bucket/prefix, because train.nodes is {self.train.nodes}: nodes get their files there"
        require(self.train.nodes == 1 or self.resources.staging is not None, "resources.staging", None, place)
        one_node = "false, because with train.nodes above 1 the process that logs does not train"
        bad_nodes = self.tracking.system_metrics and self.train.nodes > 1
        require(not bad_nodes, "tracking.system_metrics", True, one_node)
        published = self.protocol == "published"
        val = "null with protocol published, which selects on test and trains all epochs"
        early = self.train.early_stopping
        require(early is None or not published, "train.early_stopping", early, val)
        criteria = self.measure.score.criteria
        for name, entry in self.schedule.schedulers.items():
            online = entry.measures_by == "online"
            wanted = "full, because the score needs gradient_magnitude, which the training pass does not compute"
            bad = online and "gradient_magnitude" in criteria
            require(not bad, f"schedule.schedulers.{name}.measuring", "online", wanted)
        check_strategies(self, {combination.strategy for combination in combinations_of(self)})
        check_combinations(self)
        names = sorted(combination.name for combination in combinations_of(self))
        for key, value in (("baseline", self.compare.baseline), ("control", self.compare.control)):
            require(value is None or value in names, f"compare.{key}", value, f"one of the schedulers {names}")
