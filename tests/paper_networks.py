"""Small stores with the kinds of modalities of the paper's data, and small networks of its kinds for them."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
from conftest import small_tree

from bss.config import config_from_tree
from bss.config.load import check_tree
from bss.config.modalities import AudioKind
from bss.config.schema import NetworkConfig
from bss.data.rows import Sample
from bss.data.sounds import to_int16
from bss.data.write_store import ArraysWriter, write_header, write_samples

CLASSES = ["cat", "dog", "owl"]
PER_SPLIT = {"train": 12, "val": 4, "test": 4}
SPECTROGRAM = {"n_fft": 64, "hop": 32, "bands": 8}
BERT = {"kind": "bert", "vocabulary": 20, "hidden": 16, "layers": 1, "heads": 2, "intermediate": 32, "positions": 8}
RESNET = {"kind": "resnet", "width": 2}


def arrays_of(label, random):
    """One sample of each kind that shows its class."""
    time = np.arange(400) / 4000
    image = random.integers(0, 120, (3, 16, 16))
    image[:, 5 * label : 5 * label + 5] += 120
    clip = random.integers(0, 120, (4, 1, 16, 16))
    clip[:, :, :, 5 * label : 5 * label + 5] += 120
    flow = random.normal(0, 3, (4, 2, 16, 16))
    flow[:, :, 5 * label : 5 * label + 5] += 10
    text = [1, 3 + 3 * label + random.integers(3), random.integers(12, 19), 19, 0, 0]
    tone = 0.3 * np.sin(2 * np.pi * (300 + 400 * label) * time) + 0.05 * random.standard_normal(400)
    return {
        "audio": to_int16(tone[: random.integers(300, 401)].astype(np.float32)),
        "image": image.astype(np.uint8),
        "frames": np.stack([image, image[:, ::-1]]).astype(np.uint8),
        "clip": clip.astype(np.uint8),
        "flow": flow.astype(np.float16),
        "text": np.array(text, dtype=np.int32),
    }


def write_store(folder, names):
    """Write a store of the modalities `names`, each called like its kind; return its path."""
    random = np.random.default_rng(0)
    folder.mkdir()
    samples, rows = [], []
    for split, count in PER_SPLIT.items():
        for label, name in enumerate(CLASSES):
            for i in range(count):
                samples.append(
                    Sample(len(samples) + 2, f"{split}-{name}-{i}", name, split, None, dict.fromkeys(names, "x"))
                )
                rows.append(arrays_of(label, random))
    kinds = {name: SimpleNamespace(kind=name) for name in names}
    if "audio" in names:
        kinds["audio"] = AudioKind("audio", sample_rate=4000, seconds=0.1, short="tile", stored="int16")
    arrays = ArraysWriter(folder, kinds)
    for row in rows:
        arrays.append({name: row[name] for name in names})
    arrays.close()
    write_samples(folder, samples, CLASSES, names)
    write_header(folder, "paper", Counter(s.split for s in samples), CLASSES, kinds, {})
    return folder


def config_of(root, network, **train):
    """Return the small parameters with a network of its own; its modalities are called like their kinds."""
    tree = small_tree(root)
    tree["schedule"]["schedulers"] = {
        "uniform": {"kind": "uniform"},
        "bss-h": {"kind": "heuristic", "pacing": {"grow_epochs": 2, "start": 0.5}},
        "bss-l": {"kind": "learned", "measuring": "full"},
        "official-l": {"preset": "official-learned"},
    }
    tree["compare"] = {"resamples": 1000}
    tree["seeds"] = [0]
    tree["train"] |= {"epochs": 2, "batch_size": 9, **train}
    config = config_from_tree(tree, "params.yaml")
    kinds = {name: SimpleNamespace(kind=name) for name in network["encoders"]}
    checked = check_tree(network, NetworkConfig, "params.yaml")
    return replace(config, prepare=replace(config.prepare, modalities=kinds), network=checked)
