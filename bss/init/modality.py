"""Map the facts about a column to a modality kind and an encoder, as plain values for params.yaml."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bss.config.schema import Links
from bss.data.text_lengths import cut_note
from bss.init.column_facts import Facts
from bss.init.text_lengths import ESTIMATE, lengths_if_learned, measure_lengths

Tree = dict[str, Any]

MAX_IMAGE = 64
"""Longer side of images in pixels: enough for a small network trained from scratch."""
MAX_FRAME = 32
"""Longer side of frames, which are averaged into one vector."""
MAX_RATE = 22_050
"""Hz."""
MAX_SECONDS = 10.0
MAX_TOKENS = 128
MAX_FRAMES = 16
FRAMES = 3
"""Still frames taken from a video."""
SOUND_NAMES = re.compile("audio|sound|speech|voice|music", re.IGNORECASE)
"""A column with such a name means the sound of its videos."""


@dataclass(frozen=True)
class Guess:
    """One modality of the new params.yaml."""

    kind: Tree
    """The modality's entry in prepare.modalities."""
    encoder: Tree
    """The modality's entry in network.encoders."""
    seen: str
    """The evidence for the kind."""
    caution: str = ""
    """A warning for the user."""


def guess(
    column: str, facts: Facts, has_span: bool, root: Path, train: Sequence[str], links: Links = "inside"
) -> Guess | None:
    """Return the modality of a column, or None if it looks like metadata.

    `has_span`: the manifest has a column <column>_start or <column>_end; `train`: the column's values
    in the training rows.
    """
    form = facts.forms.most_common(1)[0][0]
    if form == "container":
        wants_sound = SOUND_NAMES.search(column) and facts.tracks["audio"]
        form = "sound" if wants_sound or not facts.tracks["video"] else "video"
    if form == "folder":
        form = "video" if facts.distinct > 1 else "other"
    if form == "array":
        form = "flow" if all(_is_flow(shape) for shape in facts.shapes) else "features"
    makers = {"sound": _audio, "image": _image, "features": _features, "flow": _flow}
    if form in makers:
        return makers[form](facts)
    if form == "video":
        return _clip(facts) if has_span else _frames(facts)
    return _text(facts, form, root, train, links) if form in ("words", "textfile") else None


def _audio(facts: Facts) -> Guess:
    rate = min(MAX_RATE, max(1000, _most_common(facts.rates)))
    longest = _upper(facts.seconds)
    seconds = min(MAX_SECONDS, max(0.1, math.ceil(round(longest * 10, 3)) / 10))
    n_fft = 2 ** max(6, round(math.log2(0.032 * rate)))
    bands = min(64, n_fft // 4)
    return Guess(
        {"kind": "audio", "sample_rate": rate, "seconds": seconds},
        {"kind": "cnn", "channels": [16, 32, 64], "features": 64}
        | {"spectrogram": {"n_fft": n_fft, "hop": n_fft // 2, "bands": bands}},
        f"sounds of {_range(facts.seconds, '.2f')} s at {_listed(facts.rates)} Hz",
        f"9 of 10 sounds last up to {longest:.1f} s; {seconds:g} s are kept" if longest > MAX_SECONDS else "",
    )


def _image(facts: Facts) -> Guess:
    height, width = _size(facts, MAX_IMAGE)
    channels = [32, 64] if max(height, width) <= 16 else [16, 32, 64]
    return Guess(
        {"kind": "image", "height": height, "width": width, "channels": _channels(facts)},
        {"kind": "cnn", "channels": channels, "features": 64},
        f"images of {_sizes(facts)} pixels",
    )


def _frames(facts: Facts) -> Guess:
    height, width = _size(facts, MAX_FRAME)
    kind = {"kind": "frames", "count": FRAMES, "height": height, "width": width, "channels": _channels(facts)}
    return Guess(kind, _RESNET, _video(facts))


def _clip(facts: Facts) -> Guess:
    height, width = _size(facts, MAX_FRAME)
    kind = {"kind": "clip", "frames": _length(facts), "height": height, "width": width, "channels": _channels(facts)}
    return Guess(kind, _RESNET, f"{_video(facts)}, with parts selected", _NO_MOTION)


def _flow(facts: Facts) -> Guess:
    shapes = [shape if shape[1] == 2 else (shape[1], shape[0], *shape[2:]) for shape in facts.shapes]
    facts.frames = [shape[0] for shape in shapes]
    facts.sizes = [shape[2:] for shape in shapes]  # type: ignore[misc]
    height, width = _size(facts, MAX_FRAME)
    kind = {"kind": "flow", "frames": _length(facts), "height": height, "width": width}
    return Guess(kind, _RESNET, f"flow of {_range(facts.frames)} frames, {_sizes(facts)}", _NO_MOTION)


def _features(facts: Facts) -> Guess:
    shapes = list(Counter(facts.shapes))
    caution = f"the arrays have different shapes ({_listed(shapes)}); all must have one" if len(shapes) > 1 else ""
    return Guess(
        {"kind": "features"},
        {"kind": "mlp", "hidden": [256], "features": 64},
        f"arrays of shape {_listed(shapes)}",
        caution,
    )


def _text(facts: Facts, form: str, root: Path, train: Sequence[str], links: Links) -> Guess:
    found = _tokenizer_folder(root)
    if found is None:
        source: Literal["column", "file"] = "file" if form == "textfile" else "column"
        lengths, why_estimated = lengths_if_learned(facts.texts, train, source, root, links), ""
    else:
        lengths, why_estimated = measure_lengths(facts.texts, found, root)
    tokens = min(MAX_TOKENS, 8 * math.ceil(_upper(lengths) / 8))
    kind: Tree = {"kind": "text", "tokenizer": found, "tokens": tokens}
    if form == "textfile":
        kind["source"] = "file"
    cautions = ["a small BERT trained from scratch: a pretrained one, named by `weights`, usually does better"]
    if found is None:
        cautions[0] += ". Its tokenizer is learned from the training texts; a pretrained BERT needs its own tokenizer"
    if why_estimated:
        cautions.append(f"`tokens` is estimated, because {why_estimated}: {ESTIMATE}")
    if note := cut_note(lengths, tokens):
        cautions.append(f"of the inspected texts, {note}")
    about = "about " if why_estimated or found is None else ""
    return Guess(kind, _BERT, f"texts of {about}{_range(lengths)} tokens", ". ".join(cautions))


_RESNET: Tree = {"kind": "resnet", "depth": 18, "width": 16, "features": 64}
_BERT: Tree = {
    "kind": "bert",
    "vocabulary": None,
    "hidden": 128,
    "layers": 2,
    "heads": 2,
    "intermediate": 512,
    "features": 64,
}
_NO_MOTION = "a small ResNet sees each frame separately; `kind: i3d` also sees motion, at many times the cost"


def _tokenizer_folder(root: Path) -> str | None:
    """Return the first folder directly below the data root that holds a tokenizer."""
    names = ("tokenizer.json", "vocab.txt")
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and any((path / n).is_file() for n in names)]
    return folders[0].name if folders else None


def _is_flow(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and 2 in shape[:2] and min(shape[2:]) > 2


def _size(facts: Facts, limit: int) -> tuple[int, int]:
    """Return the median height and width, scaled down in proportion until the longer is at most `limit`."""
    height, width = (float(np.median([size[i] for size in facts.sizes])) for i in (0, 1))
    scale = min(1.0, limit / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _channels(facts: Facts) -> int:
    return 3 if facts.colours else 1


def _length(facts: Facts) -> int:
    return max(1, min(MAX_FRAMES, int(np.median(facts.frames))))


def _upper(values: list[Any]) -> float:
    """Return the 90 % quantile: the value that 9 of 10 do not exceed."""
    return float(np.quantile(values, 0.9, method="inverted_cdf"))


def _most_common(values: list[int]) -> int:
    return min(Counter(values).items(), key=lambda item: (-item[1], item[0]))[0]


def _video(facts: Facts) -> str:
    return f"{_range(facts.frames)} frames of {_sizes(facts)} pixels"


def _sizes(facts: Facts) -> str:
    return _listed([f"{height} x {width}" for height, width in facts.sizes])


def _listed(values: list[Any]) -> str:
    distinct = sorted(set(map(str, values)))
    return ", ".join(distinct[:3]) + (", ..." if len(distinct) > 3 else "")


def _range(values: list[Any], form: str = "") -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"
