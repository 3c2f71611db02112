"""A dataset's preset, made small enough to run every stage in seconds."""

from pathlib import Path

from bss.config import config_from_tree
from bss.stages.compare import compare
from bss.stages.measure import measure
from bss.stages.prepare import prepare
from bss.stages.schedule import schedule
from bss.stages.train import train

SMALL_KINDS = {
    "audio": {"seconds": 0.3},
    "image": {"height": 40, "width": 40},
    "frames": {"height": 40, "width": 40},
    "clip": {"height": 40, "width": 40, "frames": 8},
    "flow": {"height": 40, "width": 40, "frames": 8},
    "text": {"tokens": 12},
}
SMALL_ENCODERS = {
    "resnet": {"width": 2, "depth": 18, "features": 8, "weights": None},
    "bert": {"hidden": 8, "layers": 1, "heads": 2, "intermediate": 16, "weights": None, "vocabulary": 40},
    "i3d": {"weights": None},
    "mlp": {"hidden": [8], "features": 8},
}


def small_tree(
    name: str, root: Path, modalities: dict, encoders: dict, protocol: str = "honest", **prepare_keys
) -> dict:
    """Return parameters of the short form: the preset with small sizes; both dicts have keys to override."""
    return {
        "dataset": name,
        "protocol": protocol,
        "seeds": [0],
        "prepare": {"root": str(root), "modalities": modalities, **prepare_keys},
        "network": {"encoders": encoders},
        "measure": {"warmup_epochs": 1},
        "train": {"epochs": 1, "batch_size": 4, "decay": {"at": []}},
        "compare": {"resamples": 1000},
        "tracking": {"enabled": False},
        "resources": {"device": "cpu", "jobs": 1},
    }


def small_config(name: str, root: Path, protocol: str = "honest", **prepare_keys):
    """Return the dataset's preset, small, with uniform shuffling, BSS-H and BSS-L alone."""
    from bss.datasets.find import find_dataset

    preset = find_dataset(name, "test").preset
    modalities = {m: SMALL_KINDS.get(kind["kind"], {}) for m, kind in preset["prepare"]["modalities"].items()}
    encoders = {m: SMALL_ENCODERS.get(e["kind"], {}) for m, e in preset["network"]["encoders"].items()}
    for m, encoder in preset["network"]["encoders"].items():
        if crop := encoder.get("crop"):
            frames = {"frames": SMALL_KINDS["clip"]["frames"] - 2} if crop.get("frames") else {}
            encoders[m] = encoders[m] | {"crop": {"height": 32, "width": 32} | frames}
    config = config_from_tree(small_tree(name, root, modalities, encoders, protocol, **prepare_keys), "params.yaml")
    keep = {k: v for k, v in config.schedule.schedulers.items() if k in ("uniform", "random-ranking", "bss-h", "bss-l")}
    config.schedule.schedulers.clear()
    config.schedule.schedulers.update(keep)
    return config


def run_all_stages(config, folder: Path) -> Path:
    """Prepare, measure, schedule, train and compare in `folder`; return the folder of the report."""
    store, scores, plans, runs, report = (folder / name for name in ("store", "scores", "plans", "runs", "report"))
    prepare(config, Path(config.prepare.root), store)
    measure(config, store, scores)
    schedule(config, store, scores, plans)
    train(config, store, scores, plans, runs)
    compare(config, store, scores, runs, report)
    return report
