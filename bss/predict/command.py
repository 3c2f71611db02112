"""`bss predict`: decode the files of a new manifest like those of the trial, and predict their labels."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from bss.config.schema import Links
from bss.console import make_console
from bss.data.decode import BadSampleError, Decoded, Decoder
from bss.data.decode.altered import AlteredValues, count_altered, describe_altered
from bss.data.embedded.temporary import make_decoders
from bss.data.rows import Sample
from bss.data.write_store import CHUNK, CHUNK_BYTES, Skipped, decode_sample
from bss.errors import raise_problems
from bss.models.predictions import prediction_columns
from bss.predict.new_samples import NewSamples, OnBad, read_new_samples
from bss.predict.output import Output, open_output, output_columns, require_output
from bss.predict.trained import Trained
from bss.stages.prepare import row_number, write_skipped
from bss.training.reproducible import make_reproducible

FIX = "Fix these files, or leave out their samples with --on-bad-sample skip."
CHANGED_FIX = "Predictions may be wrong: go back to the code that it was trained with, or rerun `bss train`."


class _Tally:
    """Results of the samples so far."""

    def __init__(self) -> None:
        self.skipped: list[Skipped] = []
        self.altered: AlteredValues = {}
        self.rows = self.labelled = 0
        self.right: Counter[str] = Counter()
        """Number of correct predictions by column: ``predicted`` and those of the modalities."""
        self.of: Counter[str] = Counter()
        """Number of labelled samples with a prediction in the column."""

    def count(self, columns: dict[str, list[Any]]) -> None:
        self.rows += len(columns["id"])
        for name in (name for name in columns if name.startswith("predicted")):
            pairs = [(a, b) for a, b in zip(columns[name], columns["label"], strict=True) if a is not None and b]
            self.of[name] += len(pairs)
            self.right[name] += sum(a == b for a, b in pairs)


def predict(
    run: Path,
    manifest: Path,
    output: Path,
    on_bad: OnBad = "error",
    links: Links = "inside",
    own_code: bool = False,
) -> None:
    """Predict every sample of `manifest` with the network in `run`, and write one row each to `output`.

    Paths in the manifest are relative to its folder; it may hold the files themselves, as for `bss prepare`. At most
    `CHUNK` samples are in memory. With `on_bad` "skip" the unreadable samples are left out and listed next to `output`,
    in <name>.skipped.csv. Raises `BssError`, without writing anything, for all problems of the manifest at once, then
    for all undecodable files. Code that the network names is run only with `own_code`.
    """
    console = make_console()
    require_output(output, manifest)
    make_reproducible()
    trained = Trained(run, own_code)
    for sentence in trained.changed_code:
        console.print(f"Warning: {sentence} {CHANGED_FIX}", markup=False, highlight=False, soft_wrap=True)
    kinds = trained.preprocessing.modalities
    new = read_new_samples(manifest, kinds, trained.classes, trained.needs_all, on_bad, links)
    tally = _Tally()
    with (
        make_decoders(kinds, new.root, links, new.contents, trained.preprocessing.tokenizers) as decoders,
        open_output(output, output_columns(list(kinds), new.labelled)) as file,
    ):
        _predict_all(new.samples, decoders, trained, file, tally, on_bad, console)
        if on_bad == "error" or not tally.rows:
            problems = [f"row {s.sample.row} (id {s.sample.id}): {s.reason}" for s in tally.skipped]
            raise_problems(str(manifest), problems, FIX)
    if on_bad == "skip":
        _list_skipped(output.with_suffix(".skipped.csv"), new, tally)
    _print(console, output, new, tally)


def _predict_all(
    samples: Sequence[Sample],
    decoders: dict[str, Decoder],
    trained: Trained,
    file: Output,
    tally: _Tally,
    on_bad: OnBad,
    console: Console,
) -> None:
    size = max(1, min(CHUNK, CHUNK_BYTES // trained.sample_bytes))
    with Progress(console=console, disable=not console.is_terminal) as progress, ThreadPoolExecutor() as pool:
        task = progress.add_task("predict", total=len(samples))
        for start in range(0, len(samples), size):
            chunk = samples[start : start + size]
            decoded = pool.map(lambda sample: decode_sample(sample, decoders), chunk)
            good = list(_fitting(zip(chunk, decoded, strict=True), trained, tally))
            # After the first bad file nothing is written; the rest is decoded only to report all bad files.
            if good and (on_bad == "skip" or not tally.skipped):
                columns = _columns(good, trained)
                tally.count(columns)
                file.write(columns)
            progress.advance(task, len(chunk))


def _fitting(
    decoded: Iterator[tuple[Sample, dict[str, Decoded | BadSampleError]]], trained: Trained, tally: _Tally
) -> Iterator[tuple[Sample, dict[str, Decoded]]]:
    """Yield the samples that fit the network; tally the others as skipped."""
    for sample, parts in decoded:
        good = {name: part for name, part in parts.items() if not isinstance(part, BadSampleError)}
        unfit = {name: str(part) for name, part in parts.items() if isinstance(part, BadSampleError)}
        unfit |= {name: why for name, part in good.items() if (why := trained.why_unfit(name, part.array))}
        if unfit:
            tally.skipped.append(Skipped.of(sample, unfit))
            continue
        for name, part in good.items():
            count_altered(tally.altered, name, sample.files[name], part.altered)
        yield sample, good


def _columns(chunk: list[tuple[Sample, dict[str, Decoded]]], trained: Trained) -> dict[str, list[Any]]:
    """Return the predictions of a chunk as columns; samples with the same modalities form batches."""
    columns: dict[str, list[Any]] = {
        name: [None] * len(chunk) for name in output_columns(list(trained.modalities), labelled=True)
    }
    columns["id"] = [sample.id for sample, _ in chunk]
    columns["label"] = [sample.label or None for sample, _ in chunk]
    alike: dict[tuple[str, ...], list[int]] = {}
    for position, (_, parts) in enumerate(chunk):
        alike.setdefault(tuple(parts), []).append(position)
    for names, positions in alike.items():
        network, size = trained.network_for(names)
        for start in range(0, len(positions), size):
            batch = positions[start : start + size]
            found = prediction_columns(network, trained.classes, trained.batch([chunk[i][1] for i in batch]))
            for name, values in found.items():
                for position, value in zip(batch, values, strict=True):
                    columns[name][position] = value
    return columns


def _list_skipped(path: Path, new: NewSamples, tally: _Tally) -> None:
    rows = [(row.id, row.row, row.reason) for row in new.bad]
    rows += [(s.sample.id, s.sample.row, s.reason) for s in tally.skipped]
    write_skipped(path, sorted(rows, key=row_number))


def _print(console: Console, output: Path, new: NewSamples, tally: _Tally) -> None:
    lines = [f"{tally.rows:,} samples predicted, in {output}"]
    if skipped := len(new.bad) + len(tally.skipped):
        lines.append(f"{skipped:,} samples skipped, listed in {output.with_suffix('.skipped.csv')}")
    for column, count in tally.of.items():
        if count:
            what = column.removeprefix("predicted").removeprefix("_") or "all modalities"
            right = tally.right[column]
            lines.append(f"accuracy, {what}: {right / count:.4f} ({right:,} of {count:,} with a label)")
    lines += [f"Caution: {line}." for line in describe_altered(tally.altered)]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
