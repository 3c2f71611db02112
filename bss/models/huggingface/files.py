"""The files of a pretrained model: found in a folder or on the Hugging Face Hub, described, digested."""

import functools
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from bss.config.own_encoders import HuggingfaceConfig
from bss.errors import BssError
from bss.files import digest_file

NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"
PROCESSORS = ("preprocessor_config.json", "video_preprocessor_config.json")
TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json")
MOST_BYTES = 1 << 24
"""Largest JSON file that is read."""

Architecture = dict[str, Any]
"""What rebuilds a model without its files: ``model`` (config.json) and ``processor`` (its preprocessing, or None)."""


def model_key(modality: str) -> str:
    """Return the start of messages about the model of `modality`."""
    return f"params.yaml: network.encoders.{modality}.model"


def find_model(encoder: HuggingfaceConfig, modality: str) -> Path:
    """Return the folder with the files of `encoder`'s model, fetched from the hub if it is no folder.

    Raises `BssError` if there is no such folder and it cannot be fetched.
    """
    key = model_key(modality)
    try:
        folder = Path(encoder.model).expanduser()
        is_folder = folder.is_dir()
    except (OSError, RuntimeError) as error:  # too long a name, an unknown user
        raise BssError(f"{key}: {encoder.model[:200]}: {getattr(error, 'strerror', None) or error}.") from error
    if is_folder:
        if encoder.revision is not None:
            raise BssError(f"{key}: {encoder.model} is a folder, which has no `revision`. Set revision to null.")
    elif NAME.fullmatch(encoder.model):
        folder = _fetch(encoder.model, encoder.revision, encoder.pickle, encoder.remote_code, key)
    else:
        raise BssError(f"{key}: {encoder.model[:200]} is neither a folder nor a name on the Hugging Face Hub.")
    if not (folder / "config.json").is_file():
        raise BssError(f"{key}: {encoder.model} has no config.json; save the model with save_pretrained.")
    return folder


@functools.cache
def _fetch(name: str, revision: str | None, pickle: bool, remote_code: bool, key: str) -> Path:
    from huggingface_hub import snapshot_download

    wanted = ["config.json", "processor_config.json", *PROCESSORS, *TOKENIZERS, "model*.safetensors*"]
    wanted += ["pytorch_model*.bin*"] * pickle + ["*.py"] * remote_code
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted, etag_timeout=10))
    except Exception as error:  # offline, no such repository or revision, no access: many types, of several packages
        why = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:").removeprefix("Got: ")
        raise BssError(
            f"{key}: {name} is not a local folder and could not be fetched from the Hugging Face Hub ({why}). "
            "Without a network, save model and processor with save_pretrained into a folder and give that folder."
        ) from error


def read_architecture(encoder: HuggingfaceConfig, modality: str) -> Architecture:
    """Return everything needed to rebuild the model of `encoder`; raises `BssError` if it needs remote code."""
    folder, key = find_model(encoder, modality), model_key(modality)
    model = read_object(folder / "config.json", key)
    if "auto_map" in model and not encoder.remote_code:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

        if model.get("model_type") not in CONFIG_MAPPING_NAMES:
            raise BssError(
                f"{key}: {encoder.model} needs Python code from its repository. If you have read and trust it, set "
                f"network.encoders.{modality}.remote_code to true."
            )
    return {"model": model, "processor": _processor(folder, key)}


def _processor(folder: Path, key: str) -> dict[str, Any] | None:
    for name in PROCESSORS:
        if (folder / name).is_file():
            return read_object(folder / name, key)
    if not (folder / "processor_config.json").is_file():
        return None
    parts = read_object(folder / "processor_config.json", key)
    found = (parts.get(part) for part in ("image_processor", "feature_extractor", "video_processor"))
    return next((part for part in found if isinstance(part, dict)), None)


def weight_files(encoder: HuggingfaceConfig, modality: str) -> list[Path]:
    """Return the files with the weights of `encoder`'s model: safetensors, or with `pickle` also torch's."""
    folder, key = find_model(encoder, modality), model_key(modality)
    for name in (SAFE, *([PICKLED] if encoder.pickle else [])):
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = read_object(index, key).get("weight_map")
            names = sorted(set(map(str, shards.values()))) if isinstance(shards, dict) else []
            if not names or any(Path(n).name != n or not (folder / n).is_file() for n in names):
                raise BssError(f"{key}: {index}: names weight files that do not exist next to it.")
            return [folder / n for n in names]
    pickled = (folder / PICKLED).is_file() or (folder / f"{PICKLED}.index.json").is_file()
    more = f", only {PICKLED}. Set network.encoders.{modality}.pickle to true to read that, weights-only" * pickled
    raise BssError(f"{key}: {encoder.model} has no {SAFE}{more}.")


def digest_model(encoder: HuggingfaceConfig, modality: str) -> dict[str, str]:
    """Return ``weights_<modality>``, the digest of all that decides features, and ``commit_<modality>`` if known."""
    folder = find_model(encoder, modality)
    files = [folder / "config.json", *weight_files(encoder, modality)]
    files += [folder / name for name in ("processor_config.json", *PROCESSORS)]
    files += sorted(folder.glob("*.py")) if encoder.remote_code else []
    digest = hashlib.sha256()
    for file in files:
        if file.is_file():
            status = file.stat()
            digest.update(f"{file.name}\0{_digest(file, status.st_mtime_ns, status.st_size)}\0".encode())
    commit = folder.name if folder.parent.name == "snapshots" else None  # where the hub's cache keeps a commit
    return {f"weights_{modality}": digest.hexdigest(), **({f"commit_{modality}": commit} if commit else {})}


@functools.cache
def _digest(path: Path, changed: int, size: int) -> str:
    return digest_file(path)


def read_object(path: Path, key: str) -> dict[str, Any]:
    """Return the JSON object in `path`; raises `BssError`, which names `key`, for anything else."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BssError(f"{key}: {path}: larger than {MOST_BYTES >> 20} MiB.")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BssError(f"{key}: {path}: not readable as JSON ({error}).") from error
    if not isinstance(found, dict):
        raise BssError(f"{key}: {path}: not a JSON object.")
    return found
