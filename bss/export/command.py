"""`bss export data`: a curated subset in one of three formats."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from bss.config import Config
from bss.console import make_console
from bss.data.decisions import FILE
from bss.data.decode.bad_sample import BadSampleError, named
from bss.data.store import SPLITS
from bss.errors import BssError, raise_problems
from bss.export.hugging_face import write_parquet_folder
from bss.export.subset import Subset, select
from bss.export.web_dataset import write_shards
from bss.files import digest_json, held, require_new, whole_file, whole_folder, write_csv, write_json
from bss.provenance import provenance, write_provenance
from bss.stages.prepare import parameters_of

Writer = Callable[[Path, Subset], None]
FOLDERS: Mapping[str, Writer] = {"webdataset": write_shards, "huggingface": write_parquet_folder}


def export_data(
    config: Config, root: Path, store: Path, form: str, to: Path, ids: Collection[str] | None, chosen: Mapping[str, Any]
) -> None:
    """Write the samples `ids` of `store` (None: all) to `to` in the format `form`, atomically.

    `manifest` is a CSV file to put into `root`, with the splits of the store, and a .provenance.json beside it; the
    other formats are new folders with a provenance.json, which hold the files themselves. Decisions to ignore a
    modality, which no format can hold, are written as another decisions.csv. `chosen` says for the provenance how the
    ids were chosen. Raises `BssError` if `to` exists, if the data have changed since they were
    prepared, and for files that the format cannot hold.
    """
    if form == "manifest":
        if to.suffix != ".csv":
            raise BssError(f"--to {to}: a manifest must end in .csv.")
        if to.exists():
            raise BssError(f"{to}: already exists and would be replaced. Remove it, or choose another name.")
    else:
        require_new(to)
    subset = select(config, root, store, ids)
    _require_files(subset, form)
    parameters = {**parameters_of(config), "format": form, "chosen": dict(chosen)}
    inputs = {"store": subset.store.digest, "ids": digest_json([sample.id for sample in subset.samples])}
    to.parent.mkdir(parents=True, exist_ok=True)
    if form == "manifest":
        decisions = to.with_suffix(f".{FILE}")
        _write_decisions(decisions, subset)
        with whole_file(to.with_suffix(".provenance.json")) as file:
            write_json(file, provenance("export data", inputs, parameters))
        with whole_file(to) as file:
            write_csv(file, [_row(subset, number) for number in range(len(subset.samples))])
    else:
        decisions = to / FILE
        with held(to), whole_folder(to) as folder:
            try:
                FOLDERS[form](folder, subset)
            except BadSampleError as error:
                raise BssError(
                    f"{root}: a file changed during the export ({error}). Run `bss prepare` again."
                ) from error
            _write_decisions(folder / FILE, subset)
            write_provenance(folder, "export data", inputs, parameters)
    counts = Counter(sample.split for sample in subset.samples)
    shown = ", ".join(f"{split} {counts[split]}" for split in SPLITS if counts[split])
    make_console().print(
        f"Wrote {to}: {len(subset.samples)} of {len(subset.store)} samples ({shown}).", highlight=False, soft_wrap=True
    )
    if form == "manifest" and not to.resolve().is_relative_to(root.resolve()):
        make_console().print(
            f"Its paths are relative to {config.prepare.root}: put it there, then name it in prepare.manifest.",
            highlight=False,
            soft_wrap=True,
        )
    if subset.ignored:
        tests = any(sample.split == "test" and sample.id in subset.ignored for sample in subset.samples)
        make_console().print(
            f"{len(subset.ignored)} of them ignore a modality, by {decisions}: set prepare.decisions to it"
            f"{' and prepare.decide_test: true' if tests else ''} where they are prepared.",
            highlight=False,
            soft_wrap=True,
        )


def _write_decisions(path: Path, subset: Subset) -> None:
    """Write what was decided to be ignored to `path`; nothing if there is no such decision."""
    rows = [{"id": name, "decision": "ignore", "value": modality} for name, modality in subset.ignored.items()]
    if rows:
        with whole_file(path) as file:
            write_csv(file, rows)


def _require_files(subset: Subset, form: str) -> None:
    """Raise `BssError` for values that the format cannot hold: folders, or for a manifest files inside others."""
    problems = []
    for sample in subset.samples:
        for modality in subset.kinds:
            value = sample.files[modality]
            if subset.holds_text(modality):
                continue
            inner = value in subset.manifest.contents
            if form == "manifest" and inner:
                problems.append(f"{sample.id}: {modality} {named(value)} is inside another file")
            elif form != "manifest" and not inner and (subset.root / value).is_dir():
                problems.append(f"{sample.id}: {modality} {named(value)} is a folder of images")
    fix = "Export as webdataset or huggingface." if form == "manifest" else "Export as manifest, or convert to videos."
    raise_problems(f"--as {form}", problems, fix)


def _row(subset: Subset, number: int) -> dict[str, str | int]:
    sample = subset.samples[number]
    row: dict[str, str | int] = {"id": sample.id, "label": sample.label, "split": sample.split}
    if sample.group is not None:
        row["group"] = sample.group
    row |= sample.files
    for modality, span in sample.spans.items():
        row |= {f"{modality}_{end}": at for end in ("start", "end") if (at := getattr(span, end)) is not None}
    return row
