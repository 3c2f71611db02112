"""The arguments of `bss predict`."""

import argparse
from pathlib import Path

from bss.commands.options import RUNS, Add, add_links

PREDICTIONS = Path("predictions.csv")


def add_predict(add: Add) -> None:
    """Add `bss predict` with `add`."""
    sub = add("predict", _predict, "predict new samples with a trained network", parameters=False)
    sub.add_argument("--run", type=Path, required=True, metavar="DIR", help=f"one trial: {RUNS}/<scheduler>/seed=<s>")
    sub.add_argument(
        "--manifest",
        type=Path,
        required=True,
        help="CSV or Parquet file with id, one column per modality (paths relative to its folder, or the files "
        "themselves), and optional label; also tar shards: a file, a folder, or a pattern such as '{000..099}.tar'",
    )
    sub.add_argument("--output", type=Path, default=PREDICTIONS, help=".csv or .parquet; default: %(default)s")
    sub.add_argument(
        "--on-bad-sample",
        choices=("error", "skip"),
        default="error",
        help="skip: leave out unreadable samples and list them in <output>.skipped.csv; default: %(default)s",
    )
    add_links(sub, "follow: also read files outside the manifest's folder through links; default: %(default)s")
    sub.add_argument(
        "--own-code",
        action="store_true",
        help="import the code that the network's encoders name (kind python, remote_code), from this folder",
    )


def _predict(options: argparse.Namespace) -> None:
    from bss.predict.command import predict

    predict(options.run, options.manifest, options.output, options.on_bad_sample, options.links, options.own_code)
