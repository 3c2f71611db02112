"""Check that what `bss prepare` stores is what a pretrained model's own processor would give it."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bss.config.modalities import AudioKind, ClipKind, FramesKind, ImageKind, ModalityKind, TextKind
from bss.config.own_encoders import HuggingfaceConfig
from bss.config.schema import Config
from bss.data.decode.text import Tokenizer
from bss.errors import BssError
from bss.models.huggingface.files import Architecture, find_model, model_key, read_architecture, read_object
from bss.models.huggingface.processor import image_processing, make_extractor
from bss.models.inputs.transform import MEAN_AND_DEVIATION

FIX = "set preprocessing to unchecked to train on other inputs than the model was made for"


def check_agreement(config: Config) -> None:
    """Raise `BssError` with every way in which the inputs of pretrained models differ from their processors'.

    It looks at params.yaml and the models' files alone. An encoder with ``preprocessing: unchecked`` is not checked.
    """
    problems: list[str] = []
    for name, encoder in _checked(config).items():
        kind, architecture = config.prepare.modalities[name], read_architecture(encoder, name)
        if isinstance(kind, AudioKind):
            problems += _audio(name, kind, architecture)
        elif isinstance(kind, TextKind):
            problems += _text(name, kind, encoder, Path(config.prepare.root))
        else:
            problems += _pictures(name, kind, encoder, architecture)
    if problems:
        raise BssError("\n".join(f"params.yaml: {problem}." for problem in problems))


def resized_otherwise(config: Config) -> list[str]:
    """Return a sentence about each model whose processor resizes pictures in another way than bss, which is no error.

    An encoder with ``preprocessing: unchecked`` is left out.
    """
    sentences = []
    for name, encoder in _checked(config).items():
        if not isinstance(config.prepare.modalities[name], ImageKind | FramesKind | ClipKind):
            continue
        if ways := _resizing(read_architecture(encoder, name)["processor"] or {}):
            sentences.append(
                f"{name}: the processor of {encoder.model} {' and '.join(ways)}, but bss resizes whole pictures to one "
                "size with a bilinear filter: features differ slightly from those that the model was made for."
            )
    return sentences


def _checked(config: Config) -> dict[str, HuggingfaceConfig]:
    """Return the pretrained encoders whose processors are compared with bss, by modality."""
    return {
        name: encoder
        for name, encoder in config.network.encoders.items()
        if isinstance(encoder, HuggingfaceConfig) and encoder.preprocessing == "checked"
    }


def _resizing(processor: dict[str, Any]) -> list[str]:
    """Return what a processor does otherwise than a bilinear filter on whole pictures, as verbs with their objects."""
    if not processor.get("do_resize", True):
        return []
    size, filters = processor.get("size"), {"0": "nearest", "1": "Lanczos", "3": "bicubic", "4": "box", "5": "Hamming"}
    named = filters.get(str(processor.get("resample")))
    keeps = processor.get("do_center_crop", False) or (isinstance(size, dict) and "shortest_edge" in size)
    return [f"uses a {named} filter"] * (named is not None) + ["keeps the aspect ratio and crops"] * bool(keeps)


def _audio(name: str, kind: AudioKind, architecture: Architecture) -> list[str]:
    rate = make_extractor(architecture, name).sampling_rate
    if rate == kind.sample_rate:
        return []
    key = f"prepare.modalities.{name}.sample_rate"
    return [f"{key}: {kind.sample_rate}, but the processor of network.encoders.{name}.model takes {rate} Hz"]


def _pictures(name: str, kind: ModalityKind, encoder: HuggingfaceConfig, architecture: Architecture) -> list[str]:
    assert isinstance(kind, ImageKind | FramesKind | ClipKind)
    found, key, problems = image_processing(architecture, name), f"network.encoders.{name}", list[str]()
    if "sampling_rate" in (architecture["processor"] or {}):
        return [f"{key}.model: it is a model of sounds by its processor, but {name} is of kind {kind.kind}"]
    if found is None:
        return [f"{key}.model: has no preprocessor_config.json to check prepare against: copy it there, or {FIX}"]
    if encoder.normalisation is not None:
        mine = MEAN_AND_DEVIATION[encoder.normalisation]
        theirs = [values or neutral for values, neutral in ((found.mean, (0.0,)), (found.deviation, (1.0,)))]
        ours = [values or neutral for values, neutral in ((mine[0], (0.0,)), (mine[1], (1.0,)))]
        if not all(np.allclose(np.array(a), np.array(b), atol=1e-3) for a, b in zip(ours, theirs, strict=True)):
            right = f"null: the model's processor has mean {list(found.mean)} and deviation {list(found.deviation)}"
            problems.append(f"{key}.normalisation: {encoder.normalisation}; it should be {right}")
    size = kind if encoder.crop is None else encoder.crop
    where = f"prepare.modalities.{name}" if encoder.crop is None else f"{key}.crop"
    right_size = (found.height or size.height, found.width or size.width)
    if found.shortest is not None:
        fits, right = min(size.height, size.width) == found.shortest, f"{found.shortest} pixels on the shorter side"
    else:
        fits, right = right_size == (size.height, size.width), f"{right_size[0]} x {right_size[1]} pixels"
    if not fits:
        have = f"{size.height} x {size.width}"
        problems.append(f"{where}: {have} pixels, but the processor of {key}.model gives {right}; change it, or {FIX}")
    channels = architecture["model"].get("num_channels", 3)
    if kind.channels != channels:
        problems.append(f"prepare.modalities.{name}.channels: {kind.channels}, but {key}.model takes {channels}")
    frames = architecture["model"].get("num_frames")
    stored = encoder.crop.frames if encoder.crop is not None and encoder.crop.frames else _frames(kind)
    if frames is not None and stored != frames:
        count = "count" if isinstance(kind, FramesKind) else "frames"
        problems.append(f"prepare.modalities.{name}.{count}: {stored}, but {key}.model takes {frames} frames")
    return problems


def _frames(kind: ImageKind | FramesKind | ClipKind) -> int:
    return kind.count if isinstance(kind, FramesKind) else getattr(kind, "frames", 1)


def _text(name: str, kind: TextKind, encoder: HuggingfaceConfig, root: Path) -> list[str]:
    key, where = f"prepare.modalities.{name}.tokenizer", f"network.encoders.{name}.model"
    folder, settings = find_model(encoder, name), f"prepare.modalities.{name}"
    local = folder == Path(encoder.model).expanduser()  # relative to the current folder, a tokenizer to the data
    right = encoder.model if not local else os.path.relpath(folder, root) if root.is_dir() else str(folder.resolve())
    if kind.tokenizer is None:
        return [f"{key}: null learns a tokenizer, but {where} needs its own: set it to {right}, or {FIX}"]
    problems = [
        f"{settings}.{cleaned}: true, but {where} was made for texts as they are: set it to false, or {FIX}"
        for cleaned in ("remove_punctuation", "letters_only")
        if getattr(kind, cleaned)
    ]
    if not root.is_dir():  # a pod that has the store alone
        return problems
    plain = replace(kind, lower_case=False, remove_punctuation=False, letters_only=False, words=None)
    try:
        own = Tokenizer(replace(plain, tokenizer=str(folder.resolve()), revision=None), root, name)
        same = not local and (kind.tokenizer, kind.revision) == (encoder.model, encoder.revision)
        same = same or Tokenizer(kind, root, name).save() == own.save()
    except BssError as error:
        raise BssError(f"params.yaml: {where}: its tokenizer cannot be compared with that of {key}: {error}") from error
    if kind.lower_case and _keeps_case(own, folder, name):
        problems.append(f"{settings}.lower_case: true, but the tokenizer of {where} keeps the case")
    if not same:
        problems.append(f"{key}: {kind.tokenizer} differs from the tokenizer of {where}: set it to {right}")
    return problems


def _keeps_case(tokenizer: Tokenizer, folder: Path, name: str) -> bool:
    settings = folder / "tokenizer_config.json"
    if settings.is_file() and read_object(settings, model_key(name)).get("do_lower_case") is False:
        return True
    return not np.array_equal(tokenizer.encode("The Cat"), tokenizer.encode("the cat"))
