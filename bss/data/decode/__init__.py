"""Decoding one sample of a modality into an array."""

from collections.abc import Callable
from pathlib import Path

from bss.config.modalities import AudioKind, ClipKind, FlowKind, FramesKind, ImageKind, ModalityKind, TextKind
from bss.config.schema import Links
from bss.data.decode.altered import Decoded
from bss.data.decode.audio import decode_audio
from bss.data.decode.bad_sample import BadSampleError, is_panic, reason
from bss.data.decode.features import decode_features
from bss.data.decode.flow import decode_flow, require_opencv
from bss.data.decode.frame_source import is_folder
from bss.data.decode.frames import decode_clip, decode_frames
from bss.data.decode.image import decode_image
from bss.data.decode.paths import boundary, inside, require_file
from bss.data.decode.spans import Span
from bss.data.decode.text import Tokenizer, read_text
from bss.extras import extra_of

__all__ = ["BadSampleError", "Decoded", "Decoder", "make_decoder"]

Decoder = Callable[[str, Span], Decoded]
"""Maps a manifest value (path or text) and a span to the stored array, with the alterations needed to store it.

audio: float32 in [-1, 1] or int16 [samples]; image: uint8 [channels, height, width]; frames and clip: uint8 [frames,
channels, height, width]; flow: float16 [frames, 2, height, width]; text: int32 [tokens], 0 is padding;
features: float32 of the file's shape. Raises `BadSampleError` if the file is missing, unreadable or outside
the data root, or holds values that are not finite.
"""


def make_decoder(
    kind: ModalityKind, root: Path, modality: str, links: Links = "inside", tokenizer: str | None = None
) -> Decoder:
    """Return the decoder of a modality with paths relative to `root`; thread-safe.

    `tokenizer` is a saved text tokenizer that replaces the one named by `kind`.
    Raises `BssError` if its tokenizer or a library is missing; `modality` is named in messages.
    """
    root = root.resolve()  # once: a link inside the root may not lead out of it
    limit = boundary(root, links)
    if isinstance(kind, TextKind):
        encode = Tokenizer(kind, root, modality, saved=tokenizer).encode
        if kind.source == "column":
            return _guarded(lambda text, _: Decoded(encode(text)))
        return _guarded(lambda name, _: Decoded(encode(_read_text(inside(root, name, limit), root))))
    if isinstance(kind, FlowKind) and kind.compute:
        require_opencv(modality)
    return _guarded(lambda name, span: _decode(inside(root, name, limit), kind, root, limit, span))


def _read_text(path: Path, root: Path) -> str:
    require_file(path, root)
    return read_text(path)


def _guarded(decode: Decoder) -> Decoder:
    """Wrap `decode` so that any library exception becomes a `BadSampleError`.

    One file in a million must not abort the others with a traceback that does not even name it. A package
    that is not installed is no fault of the file: its `ModuleNotFoundError` is passed on.
    """

    def guarded(value: str, span: Span) -> Decoded:
        try:
            return decode(value, span)
        except BadSampleError:
            raise
        except BaseException as error:
            if not (isinstance(error, Exception) or is_panic(error)):
                raise
            if isinstance(error, ModuleNotFoundError) and extra_of(error.name):
                raise
            raise BadSampleError(f"cannot be decoded ({type(error).__name__}: {reason(error, Path(value))})") from error

    return guarded


def _decode(path: Path, kind: ModalityKind, root: Path, limit: Path, span: Span) -> Decoded:
    if not (isinstance(kind, FramesKind | ClipKind | FlowKind) and is_folder(path)):
        require_file(path, root)
    if isinstance(kind, FramesKind):
        return decode_frames(path, kind, limit)
    if isinstance(kind, ClipKind):
        return decode_clip(path, kind, limit, span)
    if isinstance(kind, FlowKind):
        return decode_flow(path, kind, limit, span)
    if isinstance(kind, AudioKind):
        return decode_audio(path, kind)
    return decode_image(path, kind) if isinstance(kind, ImageKind) else decode_features(path)
