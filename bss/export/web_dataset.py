"""A subset as WebDataset shards."""

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any

from bss.data.decode.contents import suffix_for
from bss.data.embedded.webdataset import PATHS
from bss.data.rows import Sample
from bss.export.subset import Subset

SHARD_BYTES = 1 << 30
"""Bytes of the members of a shard, at most, unless one sample has more."""
SHARD_SAMPLES = 10_000


def write_shards(folder: Path, subset: Subset) -> None:
    """Write ``<split>-000000.tar``, ... into `folder`.

    The members of a sample are ``<number>.<modality>.<suffix>``, texts .txt, .cls with the number of the class, and
    .json with id, label, split, group, parts of files and the files' names. The same samples give the same bytes.
    """
    number = {name: str(index) for index, name in enumerate(subset.store.classes)}
    at = 0
    for split, samples in subset.of_splits():
        shard = size = count = 0
        with ExitStack() as stack:
            tar: tarfile.TarFile | None = None
            for sample in samples:
                members = [*_members(subset, sample), ("cls", number[sample.label].encode())]
                members.append(("json", json.dumps(_fields(subset, sample), ensure_ascii=False).encode()))
                length = sum(len(data) for _, data in members)
                if tar is None or size + length > SHARD_BYTES or count == SHARD_SAMPLES:
                    stack.close()
                    file = folder / f"{split}-{shard:06}.tar"
                    tar = stack.enter_context(tarfile.open(file, "w", format=tarfile.GNU_FORMAT))
                    shard, size, count = shard + 1, 0, 0
                for extension, data in members:
                    info = tarfile.TarInfo(f"{at:08}.{extension}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
                at, size, count = at + 1, size + length, count + 1


def _members(subset: Subset, sample: Sample) -> Iterator[tuple[str, bytes]]:
    for modality in subset.kinds:
        if subset.holds_text(modality):
            yield f"{modality}.txt", subset.text(sample, modality).encode()
        else:
            data = subset.file(sample, modality)
            yield f"{modality}{_suffix(subset, sample, modality, data)}", data


def _suffix(subset: Subset, sample: Sample, modality: str, data: bytes) -> str:
    """Return the suffix of a file's name, or of what it holds; .bin if neither is known."""
    own = PurePosixPath(sample.files[modality].rpartition("::")[2]).suffix
    return PurePosixPath(subset.name(sample, modality).rpartition("::")[2]).suffix or own or suffix_for(data) or ".bin"


def _fields(subset: Subset, sample: Sample) -> dict[str, Any]:
    fields: dict[str, Any] = {"id": sample.id, "label": sample.label, "split": sample.split}
    if sample.group is not None:
        fields["group"] = sample.group
    for modality, span in sample.spans.items():
        ends = {f"{modality}_start": span.start, f"{modality}_end": span.end}
        fields |= {name: frame for name, frame in ends.items() if frame is not None}
    names = {name: subset.name(sample, name) for name in subset.kinds if not subset.holds_text(name)}
    return fields | {PATHS: names}
