"""Schedulers x strategies and their controls over seeds, by the honest protocol and with equal epochs; no timings.

    python -m benchmarks.strategy_matrix FOLDER                                         # the built-in data
    python -m benchmarks.strategy_matrix FOLDER --root DATA --fault contradicting-40    # other sounds and images

    python -m benchmarks.strategy_matrix FOLDER --markdown                              # what a finished run found

Writes FOLDER/params.yaml and runs the stages in FOLDER, with the learning rate tuned for uniform shuffling. If it is
interrupted, it resumes: finished trials are kept. They run seed by seed, so that what there is can be compared.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.matrix_page import read_matrix
from benchmarks.planted_faults import FAULTS, plant
from benchmarks.record import PROJECT
from bss.config.decay import StepDecay
from bss.config.load import read_yaml
from bss.config.strategies import find_strategies
from bss.errors import BssError
from bss.init.yaml_style import block_style

SCHEDULERS = ("uniform", "bss-h", "bss-l-online")
CONTROLS: dict[str, dict[str, Any]] = {
    "fused-only": {"kind": "weights", "fused": 1.0, "unimodal": 0.0},
    "gradients-x0-5": {"kind": "weights", "encoder_gradients": 0.5},
    "gradients-x1-5": {"kind": "weights", "encoder_gradients": 1.5},
    "gradients-x3": {"kind": "weights", "encoder_gradients": 3.0},
    "unimodal-x4": {"kind": "weights", "fused": 1.0, "unimodal": 4.0},
    "independent": {"kind": "weights", "fused": 0.0, "unimodal": 1.0},
    "label-smoothing": {"kind": "weights", "label_smoothing": 0.1},
    "mixup": {"kind": "mixup"},
    "modality-dropout": {"kind": "modality-dropout"},
    "longer": {"kind": "longer", "times": 1.66},  # as many operations as mmpareto, the costliest
}
STRATEGIES = ("ogm", "agm", "mlb", "amss", "pmr", "g-blending", "lfm", "mmpareto", "dgl", "opm", "remix", "mla")
WITHOUT_HEADS = ("fused-only", "dgl")
"""Online scores come from the unimodal heads, which these do not train."""
LENGTHS = {"g-blending": "every", "remix": "warm_up"}
"""Parameters of `STRATEGIES` that are numbers of epochs, at least 1; windows are shares of the training."""


def parameters(root: str | None, seeds: int, epochs: int | None = None) -> dict[str, Any]:
    """Return the parameters of the built-in comparison with the matrix in place of its schedulers.

    `root` is a folder of other data with sounds and images, which become 14 x 14 pixels; None: the built-in data.
    With other `epochs`, decays of the learning rate, the pacing, and the strategies' warm-ups and periods take as large
    a share of them.
    """
    tree: dict[str, Any] = read_yaml(PROJECT / "params.yaml")
    schedulers = tree["schedule"]["schedulers"]
    tree["schedule"]["schedulers"] = {name: schedulers[name] for name in SCHEDULERS}
    tree["strategies"] = {"none": {"kind": "none"}, **CONTROLS, **{name: {"kind": name} for name in STRATEGIES}}
    if epochs is not None:
        _stretch(tree, epochs)
    tree["combinations"] = [
        scheduler if strategy == "none" else f"{scheduler}+{strategy}"
        for scheduler in SCHEDULERS
        for strategy in tree["strategies"]
        if scheduler != "bss-l-online" or strategy not in WITHOUT_HEADS
    ]
    tree["seeds"] = list(range(seeds))
    tree["compare"] |= {"baseline": "uniform", "control": None}
    tree["tracking"] |= {"enabled": False}
    if root is not None:
        tree["generate"] = {}
        tree["prepare"] |= {"root": root, "links": "follow"}
        tree["prepare"]["modalities"]["image"] |= {"height": 14, "width": 14}
    return tree


def _stretch(tree: dict[str, Any], epochs: int) -> None:
    before, decay = tree["train"]["epochs"], tree["train"]["decay"]
    tree["train"]["epochs"] = epochs
    decay["at"] = list(StepDecay(tuple(decay["at"])).stretched(before, epochs).at)
    for scheduler in tree["schedule"]["schedulers"].values():
        pacing = scheduler.get("pacing", {})
        if "grow_epochs" in pacing:
            pacing["grow_epochs"] = max(1, round(pacing["grow_epochs"] * epochs / before))
    defaults = {strategy.kind: strategy() for strategy in find_strategies()}
    for name, key in LENGTHS.items():
        tree["strategies"][name][key] = max(1, round(getattr(defaults[name], key) * epochs / before))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stages; return the exit status of the one that failed, or 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.strategy_matrix", description=__doc__)
    parser.add_argument("folder", type=Path, help="where data and trials are kept")
    parser.add_argument("--root", type=Path, help="data to plant a fault in (default: the built-in data with theirs)")
    parser.add_argument("--fault", choices=[fault.name for fault in FAULTS], default="clean", help="to plant in --root")
    parser.add_argument("--seeds", type=int, default=8, help="default: 8")
    parser.add_argument("--epochs", type=int, help="of each training (default: those of the built-in comparison)")
    parser.add_argument("--markdown", action="store_true", help="print the matrix of a finished run, and train nothing")
    options = parser.parse_args(arguments)
    folder: Path = options.folder
    if options.epochs is not None and options.epochs < 1:
        parser.error(f"--epochs: must be at least 1, but is {options.epochs}")
    if options.markdown:
        try:
            print(read_matrix(folder / "outputs" / "report"))
        except BssError as error:
            parser.error(str(error))
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    stages = [] if (folder / "outputs" / "store").is_dir() else ["prepare"]
    if options.root is None:
        stages = ["generate digits" for _ in stages] + stages
    elif not (folder / "data").is_dir():
        (fault,) = (fault for fault in FAULTS if fault.name == options.fault)
        plant(options.root, fault, ("audio", "image"), folder / "data")
    params = folder / "params.yaml"
    tree = parameters(None if options.root is None else "data", options.seeds, options.epochs)
    if not params.is_file():  # `bss tune --write` changes it
        params.write_text(block_style(tree))
    found, wanted = read_yaml(params)["train"]["epochs"], tree["train"]["epochs"]
    if options.epochs is not None and found != wanted:
        parser.error(f"--epochs: {params} was written for {found} epochs, not {wanted}. Name another folder.")
    by_seed = [f"train --seed {seed}" for seed in range(options.seeds)]
    for stage in [*stages, "tune --write", "measure", "schedule", *by_seed, "train", "compare"]:
        status = subprocess.run(["bss", *stage.split()], cwd=folder, check=False).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
