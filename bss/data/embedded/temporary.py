"""Decode bytes with the decoders of files: each sample's bytes become a temporary file while they are decoded.

The decoders detect damage from sizes on disk, memory-map arrays, and choose formats by suffix; FFmpeg and libsndfile
open files themselves. On a file they give the same result for the same bytes, wherever these came from.
"""

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from types import MappingProxyType

from bss.config.modalities import ModalityKind, TextKind
from bss.config.schema import Links
from bss.data.decode import Decoder, make_decoder
from bss.data.decode.altered import Decoded
from bss.data.decode.bad_sample import BadSampleError
from bss.data.decode.contents import suffix_for
from bss.data.decode.spans import Span
from bss.data.embedded.contents import Contents

STEM = "contents"
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")


@contextmanager
def make_decoders(
    kinds: Mapping[str, ModalityKind],
    root: Path,
    links: Links,
    contents: Contents,
    tokenizers: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[dict[str, Decoder]]:
    """Yield the decoder of each modality, as from `make_decoder`, for paths and for addresses in `contents`.

    `tokenizers` are saved ones, by modality. Thread-safe; temporary files exist only inside the block, one per thread.
    """
    decoders = {name: make_decoder(kind, root, name, links, tokenizers.get(name)) for name, kind in kinds.items()}
    if not contents.members:
        yield decoders
        return
    with tempfile.TemporaryDirectory(prefix="bss-") as folder:
        of_files = {name: kind for name, kind in kinds.items() if not isinstance(kind, TextKind)}
        yield decoders | {
            name: _decoder(decoders[name], make_decoder(kind, Path(folder), name), contents, Path(folder))
            for name, kind in of_files.items()
        }


def _decoder(of_files: Decoder, of_temporary: Decoder, contents: Contents, folder: Path) -> Decoder:
    def decode(value: str, span: Span) -> Decoded:
        if value not in contents:
            return of_files(value, span)
        own = folder / str(get_ident())  # one file at a time, under the same name in every message
        own.mkdir(exist_ok=True)
        file = write_member(contents, value, own)
        try:
            return of_temporary(f"{own.name}/{file.name}", span)
        finally:
            file.unlink()

    return decode


def write_member(contents: Contents, address: str, folder: Path, stem: str = STEM) -> Path:
    """Write the file at `address` into `folder` and return its path; raise `BadSampleError` if it has no bytes.

    It keeps its suffix; without a name it gets that of the format of its first bytes.
    """
    data = contents.read(address)
    if not data:
        raise BadSampleError("file is empty (0 bytes)")
    member = contents.members[address]
    suffix = Path(member.name).suffix or Path(address.rpartition("::")[2]).suffix
    file = folder / f"{stem}{suffix if SUFFIX.fullmatch(suffix) else suffix_for(data)}"
    file.write_bytes(data)
    return file
