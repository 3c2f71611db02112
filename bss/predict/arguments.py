"""The arguments of `bss predict`."""

import argparse
from collections.abc import Callable
from pathlib import Path

PREDICTIONS = Path("predictions.csv")


def add_predict(add: Callable[..., argparse.ArgumentParser], runs: Path) -> None:
    """Add `bss predict` with `add`; `runs` is the folder of trainings that its help names."""
    sub = add("predict", _predict, "predict new samples with a trained network", parameters=False)
    sub.add_argument(
        "--run", type=Path, required=True, metavar="DIR", help=f"one training: {runs}/<scheduler>/seed=<s>"
    )
    sub.add_argument(
        "--manifest",
        type=Path,
        required=True,
        help="CSV or Parquet file with an id and a file per modality, paths relative to its folder; label optional",
    )
    sub.add_argument("--output", type=Path, default=PREDICTIONS, help=".csv or .parquet; default: %(default)s")
    sub.add_argument(
        "--on-bad-sample",
        choices=("error", "skip"),
        default="error",
        help="skip leaves out what cannot be read and lists it in <output>.skipped.csv; default: %(default)s",
    )
    sub.add_argument(
        "--links",
        choices=("inside", "follow"),
        default="inside",
        help="follow also takes files behind links out of the manifest's folder; default: %(default)s",
    )


def _predict(options: argparse.Namespace) -> None:
    from bss.predict.command import predict

    predict(options.run, options.manifest, options.output, options.on_bad_sample, options.links)
