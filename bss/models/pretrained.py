"""Pretrained encoder weights: found on this machine or the Hugging Face Hub, and read without unpickling."""

import functools
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bss.config.own_encoders import HuggingfaceConfig, PythonConfig
from bss.config.schema import NetworkConfig
from bss.data.decode.bad_sample import is_panic
from bss.errors import BssError, first_line
from bss.files import digest_file
from bss.models.encoders.i3d import I3d
from bss.models.encoders.i3d_names import rename_from_port
from bss.models.encoders.torchvision_names import are_torchvision_names, rename_from_torchvision
from bss.models.huggingface.backbone import build_model, encoder_part
from bss.models.huggingface.files import digest_model, model_key, read_architecture, weight_files
from bss.models.huggingface.lora import load_base
from bss.models.network import MultiModalNetwork
from bss.models.project_code import digest_source

FILES = ("model.safetensors", "pytorch_model.bin")
"""Weight files in a folder or Hub repository; the first existing one is used."""

UNUSED = ("mask_token", "masked_spec_embed")
"""Parameters that only pretraining uses and that some files do not have."""


def weights_of(config: NetworkConfig) -> dict[str, str]:
    """Return the requested weights: modality to the file, folder or name in `weights`, if not null."""
    asked = {name: getattr(encoder, "weights", None) for name, encoder in config.encoders.items()}
    return {name: weights for name, weights in asked.items() if weights is not None}


def digest_weights(config: NetworkConfig) -> dict[str, str]:
    """Return digests of the files outside of bss that also decide a result, by what they are and the modality.

    ``weights_<modality>``: pretrained weights, with ``commit_<modality>`` if they are from the hub's cache;
    ``source_<modality>``: the source of an encoder of kind `python`.
    """
    digests: dict[str, str] = {}
    for name, encoder in config.encoders.items():
        if isinstance(encoder, HuggingfaceConfig):
            digests |= digest_model(encoder, name)
        elif isinstance(encoder, PythonConfig):
            digests[f"source_{name}"] = digest_source(encoder.factory, f"params.yaml: network.encoders.{name}.factory")
    for name, weights in weights_of(config).items():
        path = find_weights(weights, name)
        status = path.stat()
        digests[f"weights_{name}"] = _digest(path, status.st_mtime_ns, status.st_size)
    return digests


@functools.cache
def _digest(path: Path, changed: int, size: int) -> str:
    return digest_file(path)


def load_pretrained(network: MultiModalNetwork, config: NetworkConfig) -> None:
    """Load the pretrained encoder weights named in `config`; projections and heads are kept.

    Raises `BssError` if they cannot be found or read, or do not fit the encoder.
    """
    for name, weights in weights_of(config).items():
        path = find_weights(weights, name)
        built, found = network.encoders[name], read_weights(path, name)
        if isinstance(built, I3d):
            _load_i3d(built, found, path, name)
        else:
            _load_into(built.model, found, path, _key(name))
    for name, encoder in config.encoders.items():
        if isinstance(encoder, HuggingfaceConfig):
            _load_model(network, encoder, name)


def find_weights(weights: str, modality: str) -> Path:
    """Resolve `weights` to a file: itself, or a file in the folder or Hub repository."""
    try:
        path = Path(weights).expanduser()
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, RuntimeError) as error:  # too long a name, an unknown user
        raise BssError(f"{_key(modality)}: {weights[:200]}: {getattr(error, 'strerror', None) or error}.") from error
    if is_file:
        return path
    if is_folder:
        for name in FILES:
            if (path / name).is_file():
                return path / name
        raise BssError(f"{_key(modality)}: the folder {weights} has neither {' nor '.join(FILES)}.")
    name, _, revision = weights.partition("@")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise BssError(f"{_key(modality)}: {weights} is not a file, a folder, or a name on the Hugging Face Hub.")
    return _fetch(name, revision or None, weights, modality)


@functools.cache
def _fetch(name: str, revision: str | None, weights: str, modality: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    reasons = []
    for file in FILES:
        try:
            return Path(hf_hub_download(name, file, revision=revision))
        except RemoteEntryNotFoundError:
            reasons.append(f"{file} does not exist")
        except Exception as error:  # offline, no such repository, no access: many types, of several packages
            reasons.append(f"{file}: {_first_line(error)}")
            break
    raise BssError(
        f"{_key(modality)}: {weights} is not a local file or folder and could not be fetched from the Hugging Face Hub "
        f"({'; '.join(reasons)}). Without a network, copy {' or '.join(FILES)} into a folder and give that folder."
    )


def read_weights(path: Path, modality: str, key: str = "") -> dict[str, Tensor]:
    """Read a safetensors file, or one saved by torch; anything but tensors is rejected.

    Messages name `key`; empty: ``network.encoders.<modality>.weights``.
    """
    key = key or _key(modality)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            weights: Any = load_file(path)
        else:
            weights = torch.load(path, weights_only=True, map_location="cpu")
    except BaseException as error:  # damaged files raise many types
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        raise BssError(
            f"{key}: {path} is not a safe weight file ({_first_line(error)}). If it is cut off or damaged, fetch it "
            "again. It must hold only tensors, as safetensors or torch.save of a state_dict; nothing else is unpickled."
        ) from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise BssError(f"{key}: {path} does not hold a state_dict (names and tensors).")
    if not all(isinstance(name, str) for name in weights):
        raise BssError(f"{key}: {path} holds tensors whose names are not strings.")
    broken = [name for name, value in weights.items() if not _is_sound(value)]
    if broken:
        raise BssError(f"{key}: {path}: {broken[0][:200]} is not a dense tensor of finite numbers.")
    return weights


def _is_sound(value: Tensor) -> bool:
    """Return whether a tensor is dense, as large in the file as its shape says, and finite."""
    if value.layout != torch.strided or value.is_meta or value.is_quantized:
        return False
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():  # one number, expanded to terabytes
        return False
    return not value.is_floating_point() or bool(torch.isfinite(value).all())


def _load_model(network: MultiModalNetwork, encoder: HuggingfaceConfig, modality: str) -> None:
    """Load the files of a pretrained model into the network's part of it."""
    files, key = weight_files(encoder, modality), model_key(modality)
    weights = {name: value for file in files for name, value in read_weights(file, modality, key).items()}
    backbone = network.backbone(modality)
    whole = build_model(encoder, read_architecture(encoder, modality), modality)
    part = encoder_part(whole, backbone.kind)
    _load_into(whole, weights, files[0], key, part, UNUSED + (("pooler",) if encoder.pooling != "pooler" else ()))
    load_base(backbone.model, part.state_dict())


def _load_i3d(encoder: I3d, weights: dict[str, Tensor], path: Path, modality: str) -> None:
    """Load `weights`, named as in `I3d.layers` or the PyTorch port of I3D; all must exist and fit."""
    found, own = rename_from_port(weights), encoder.layers.state_dict()
    problems = [f"missing {key}" for key in own if key not in found and not key.endswith("num_batches_tracked")]
    for key, value in found.items():
        if key not in own:
            problems.append(f"unexpected {key[:200]}")
        elif value.shape != own[key].shape:
            problems.append(f"{key} is {list(value.shape)}, not {list(own[key].shape)}")
    _require_fit(problems, path, _key(modality))
    encoder.layers.load_state_dict({**own, **found})


def _load_into(
    model: Any,
    weights: dict[str, Tensor],
    path: Path,
    key: str,
    part: nn.Module | None = None,
    unused: tuple[str, ...] = (),
) -> None:
    """Load `weights` into a transformers model, whose own loading handles older names and prefixes.

    They must have all of `part`, one of its modules (None: of the whole), except modules and parameters named in
    `unused`.
    """
    from transformers.models.resnet.modeling_resnet import ResNetModel
    from transformers.utils import logging

    if isinstance(model, ResNetModel) and are_torchvision_names(weights):
        weights = rename_from_torchvision(weights)
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]):
            loaded, report = type(model).from_pretrained(
                None,
                config=model.config,
                state_dict=weights,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **_extra(model),
            )
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    own = {id(tensor) for tensor in (part or model).state_dict(keep_vars=True).values()}
    needed = {
        name
        for name, tensor in model.state_dict(keep_vars=True).items()
        if id(tensor) in own and not set(unused) & set(name.split("."))
    }
    problems = [f"missing {name}" for name in sorted(needed & set(report["missing_keys"]))]
    misfits = sorted(report["mismatched_keys"])
    problems += [f"{name} is {list(a)}, not {list(b)}" for name, a, b in misfits if name in needed]
    # Leftovers may be another task's head, but not a part of this encoder.
    parts = {name for name, _ in model.named_children()}
    left = [name for name in sorted(report["unexpected_keys"]) if parts & set(name.split("."))]
    left = [name for name in left if not set(unused) & set(name.split("."))]
    problems += [f"unexpected {name}" for name in left if not name.endswith("position_ids")]
    _require_fit(problems, path, key)
    model.load_state_dict(loaded.state_dict())


def _require_fit(problems: list[str], path: Path, key: str) -> None:
    """Raise `BssError` with the mismatches, if any."""
    if problems:
        shown = problems[:20] + ([f"and {len(problems) - 20} more"] if len(problems) > 20 else [])
        lines = "\n  ".join(shown)
        raise BssError(f"{key}: {path} does not fit; set the encoder's sizes to those of the weights:\n  {lines}")


def _extra(model: Any) -> dict[str, Any]:
    """Return the model's constructor arguments besides its config."""
    return {"add_pooling_layer": model.pooler is not None} if type(model).__name__ == "ViTModel" else {}


def _key(modality: str) -> str:
    return f"params.yaml: network.encoders.{modality}.weights"


def _first_line(error: BaseException) -> str:
    return first_line(error).rstrip(".:")
