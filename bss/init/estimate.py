"""How long the first comparison takes, from a few training steps on the user's own samples."""

import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bss.config import Config
from bss.config.combinations import combinations_of
from bss.data.manifest import Manifest

if TYPE_CHECKING:
    import torch

    from bss.data.store import Store

SAMPLES = 32
"""Maximum number of samples of a timed step."""
STEPS = 4
"""Steps that are timed, after one that is not."""


@dataclass(frozen=True)
class Estimate:
    """What the trials of a configuration take, from timed steps."""

    combinations: int
    seeds: int
    each: float
    """Seconds of a trial: its plain steps, and an evaluation of val per epoch."""
    concurrent: int
    samples: int
    """Samples of a timed step."""
    device: str

    @property
    def trials(self) -> int:
        """The number of trials."""
        return self.combinations * self.seeds

    @property
    def seconds(self) -> float:
        """Seconds of all trials; as many of them as run concurrently take as long as one."""
        return self.each * -(-self.trials // self.concurrent)

    def text(self) -> str:
        """Return the lines for the user, and what they do not contain."""
        at_once = f", {self.concurrent} at a time" if self.concurrent > 1 else ""
        return (
            f"First comparison: {self.combinations} combinations x {self.seeds} seeds = {self.trials} trials of "
            f"about {duration(self.each)} or more{at_once}: about {duration(self.seconds)}.\n"
            f"Estimated from {STEPS} plain training steps of {self.samples} samples and their evaluation, on this "
            f"machine ({self.device}) as busy as it is now. Not included: preparing the data, measuring scores, "
            "starting processes, and what strategies add to a step (docs/strategies.md)."
        )


def estimate(config: Config, manifest: Manifest, root: Path) -> Estimate | None:
    """Return how long `config` trains on `manifest`, whose files are below `root`; None if too few files are readable.

    Decodes `SAMPLES` training samples into a temporary store and trains on them. Raises ModuleNotFoundError without
    torch, and `BssError` if a trial on this machine would.
    """
    from bss.data.store import Store
    from bss.launch.workers import jobs_at_a_time
    from bss.training.reproducible import describe_device, make_reproducible, resolve_device

    count = min(SAMPLES, config.train.batch_size)
    picked = [sample for sample in manifest.samples if sample.split == "train"][:count]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if _write_store(config, replace(manifest, samples=picked), manifest.classes, root, folder) < 2:
            return None
        make_reproducible(config.resources.deterministic)
        device = resolve_device(config.resources.device)
        samples, step, evaluation = _time(config, Store.open(folder), device)
    counts = Counter(sample.split for sample in manifest.samples)
    trials = len(combinations_of(config)) * len(config.seeds)
    return Estimate(
        combinations=len(combinations_of(config)),
        seeds=len(config.seeds),
        each=config.train.epochs * (counts["train"] * step + counts["val"] * evaluation),
        concurrent=min(jobs_at_a_time(config, config.train.processes), trials),
        samples=samples,
        device=describe_device(device),
    )


def duration(seconds: float) -> str:
    """Return `seconds` with a unit that suits them, rounded as an estimate deserves."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{max(seconds, 0.1):.1f} s"


def _write_store(config: Config, manifest: Manifest, classes: list[str], root: Path, folder: Path) -> int:
    """Decode `manifest` into a store in `folder`; return how many samples it has."""
    from bss.data.learned_tokenizers import learn_tokenizers
    from bss.data.text_lengths import vocabularies
    from bss.data.write_store import decode_into, write_header, write_samples

    links = config.prepare.links
    kinds = learn_tokenizers(folder, config.prepare.modalities, manifest.samples, root, links)
    rows = range(len(manifest.samples))
    skipped, altered = decode_into(folder, manifest, rows, root, kinds, lambda number: None, links)
    bad = {one.sample.id for one in skipped}
    samples = [sample for sample in manifest.samples if sample.id not in bad]
    if samples:
        write_samples(folder, manifest.recorded(samples), classes, list(kinds), {}, None)
        sizes = vocabularies(kinds, root)
        write_header(folder, root.name, Counter(s.split for s in samples), classes, kinds, altered, sizes)
    return len(samples)


def _time(config: Config, store: "Store", device: "torch.device") -> tuple[int, float, float]:
    """Return the number of samples in a step, and the seconds of a sample in a training step and in evaluation."""
    from bss.training.initial_network import initial_network
    from bss.training.predicting import predict
    from bss.training.samples.split_data import SplitData
    from bss.training.uniform import train_uniformly

    network = initial_network(config, store, 0, device)
    data = SplitData(store, "train", network, device)
    ends: list[float] = []
    train_uniformly(config, network, data, 0, 1 + STEPS, lambda epoch: ends.append(_now(device)))
    started = _now(device)
    predict(network, data)
    evaluation = _now(device) - started
    return len(data), (ends[-1] - ends[0]) / (STEPS * len(data)), evaluation / len(data)


def _now(device: "torch.device") -> float:
    """Return a time, after what the device was given to do."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
