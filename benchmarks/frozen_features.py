"""An epoch on kept features of a frozen encoder, and one that runs the encoder on every batch."""

import csv
import json
import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.comparison import Line, interleave
from benchmarks.crema import prepare_quietly
from benchmarks.record import Benchmark, main
from bss.config import Config, config_from_tree
from bss.data.store import Store
from bss.models.huggingface.backbone import Frozen
from bss.training.initial_network import initial_network
from bss.training.reproducible import make_reproducible
from bss.training.samples.frozen_features import open_features, write_features
from bss.training.samples.read_raw import read_raw
from bss.training.samples.split_data import Indices, SplitData
from bss.training.sequences import split_into_batches
from bss.training.steps import make_optimiser, train_epoch

CPU = torch.device("cpu")
CLASSES = 4


def run(repetitions: int, samples: int, batch_size: int, side: int, hidden: int, layers: int) -> list[Line]:
    """Train epochs of the same steps from the same start; only where the features come from differs."""
    make_reproducible()
    with tempfile.TemporaryDirectory() as folder:
        config = _config(_write(Path(folder) / "data", samples, side, hidden, layers), batch_size, side)
        path = prepare_quietly(config, Path(config.prepare.root)).path
        started = time.perf_counter()
        write_features(config, path)
        once = time.perf_counter() - started
        store = Store.open(path)
        network = initial_network(config, store, 0, CPU)
        start = {name: value.clone() for name, value in network.state_dict().items()}
        kept = SplitData(store, "train", network, CPU, open_features(config, store))
        batches = split_into_batches(np.arange(samples), batch_size)
        results: dict[str, Tensor] = {}

        def epoch(name: str, data: Any) -> None:
            network.load_state_dict(start)
            train_epoch(network, make_optimiser(network, config.train.optimiser), data, batches, seed=0, epoch=0)
            results[name] = network.get_parameter("heads.image.weight").detach().clone()

        seconds = interleave(
            {"kept": lambda: epoch("kept", kept), "each": lambda: epoch("each", _EachTime(kept))}, repetitions
        )
    difference = float((results["kept"] - results["each"]).abs().max())
    what = f"{samples} images of {side} x {side}, ViT of width {hidden} with {layers} layers"
    return [
        Line(
            f"an epoch on kept features, and with the frozen encoder on every batch: {what}",
            seconds["kept"],
            seconds["each"],
            ratio="other / ours",
            at_least=20,
            note=f"largest difference of a trained weight {difference:.1e}; features computed once in {once:.1f} s",
        )
    ]


class _EachTime:
    """The samples of a split, with the frozen encoder run on each whole batch, as a plain training loop does."""

    def __init__(self, data: SplitData) -> None:
        self.data, self.device = data, data.device

    def batches(self, indices: Sequence[Indices], augmentation: Any) -> Generator[tuple[dict[str, Tensor], Tensor]]:
        network = self.data.network
        frozen = network.transforms["image"]
        assert isinstance(frozen, Frozen)
        for index in indices:
            rows = self.data.rows[index]
            with torch.no_grad():
                features = frozen.backbone(frozen.inputs(read_raw(self.data.store, "image", rows, CPU)))
                vector = network.transform_one("vector", read_raw(self.data.store, "vector", rows, CPU))
            yield {"image": features, "vector": vector}, self.data.labels[torch.from_numpy(index)]


def _write(folder: Path, samples: int, side: int, hidden: int, layers: int) -> Path:
    """Write noise with a manifest, and a random model of vision with its processor."""
    folder.mkdir()
    random = np.random.default_rng(0)
    rows = []
    for number, split in enumerate(["train"] * samples + ["val"] * CLASSES + ["test"] * CLASSES):
        pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png", compress_level=0)
        np.save(folder / f"{number}.npy", random.standard_normal(8).astype(np.float32))
        files = {"image": f"{number}.png", "vector": f"{number}.npy"}
        rows.append({"id": str(number), "label": f"class {number % CLASSES}", "split": split, **files})
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    from transformers.models.vit.configuration_vit import ViTConfig
    from transformers.models.vit.modeling_vit import ViTModel

    sizes = ViTConfig(
        image_size=side,
        patch_size=16,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        intermediate_size=4 * hidden,
    )
    torch.manual_seed(0)
    ViTModel(sizes).save_pretrained(folder / "model")
    processor = {"size": {"height": side, "width": side}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "model" / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    return folder


def _config(root: Path, batch_size: int, side: int) -> Config:
    image = {"kind": "image", "height": side, "width": side}
    model = {"kind": "huggingface", "model": str(root / "model"), "pooling": "cls"}
    tree = {
        "prepare": {"root": str(root), "modalities": {"image": image, "vector": {"kind": "features"}}},
        "network": {"encoders": {"image": model, "vector": {"kind": "mlp"}}},
        "schedule": {"schedulers": {"uniform": {"kind": "uniform"}}},
        "compare": {"control": None},
        "train": {"batch_size": batch_size, "optimiser": {"kind": "sgd"}},
        "tracking": {"enabled": False},
        "resources": {"device": "cpu", "jobs": 1},
    }
    return config_from_tree(tree, "params.yaml")


BENCHMARK = Benchmark(
    name="frozen_features",
    title="Frozen encoders computed once",
    text="An epoch of the same steps, with the features of a frozen vision transformer from the files beside the "
    "store, and with the transformer run on every batch, as in a plain PyTorch loop. One thread.",
    parameters={"repetitions": 3, "samples": 64, "batch_size": 16, "side": 224, "hidden": 192, "layers": 12},
    run=run,
)

if __name__ == "__main__":
    main(BENCHMARK)
