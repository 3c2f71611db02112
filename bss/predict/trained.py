"""Load a trained network with everything needed for prediction from its trial's folder."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bss.data.decode.altered import Decoded
from bss.data.decode.bad_sample import Array
from bss.data.preprocessing import PREPROCESSING, Preprocessing, read_preprocessing
from bss.data.sounds import Sounds
from bss.data.store import Modality
from bss.errors import BssError, first_line
from bss.files import read_json
from bss.models.network import MultiModalNetwork, build_network, zeros_like_stored
from bss.models.project_code import digest_source
from bss.models.restricted import restricted
from bss.training.measuring import BATCH, BATCH_BYTES
from bss.training.reproducible import resolve_device

FIX = "Rerun `bss train`."


class Trained:
    """The network of one trial in eval mode, on a GPU if there is one."""

    def __init__(self, folder: Path, own_code: bool = False) -> None:
        """Load it from `folder`, outputs/runs/<scheduler>/seed=<s>; raise `BssError` if anything there is wrong.

        Only with `own_code` may network.json name code to run: an encoder of kind `python`, or `remote_code`.
        """
        self.folder = folder
        description = _description(folder)
        if not own_code:
            _require_no_code(folder, description)
        self.classes: list[str] = description["classes"]
        self.modalities = {
            name: Modality(**{**m, "shape": tuple(m["shape"])}) for name, m in description["modalities"].items()
        }
        self.preprocessing = _preprocessing(folder, self.modalities)
        made = read_json(folder / "provenance.json", "train", {"inputs": dict, "parameters": dict})
        self.changed_code = _changed_code(description, made["inputs"])
        self.device = resolve_device("auto")
        self.network = _network(folder, description, made["parameters"], self.device, self.changed_code)
        self._parts: dict[tuple[str, ...], tuple[MultiModalNetwork, int]] = {}

    @cached_property
    def needs_all(self) -> str:
        """Why this network needs all modalities, and the fix; empty if it does not."""
        names = list(self.modalities)
        if restricted(self.network, names[:-1]) is not None:
            return ""
        return (
            f"the fusion `{self.network.config.fusion.kind}` needs all modalities ({', '.join(names)}). Give a file "
            "for each, or train with network.prediction: unimodal-heads, or with the fusion sum or weighted-sum"
        )

    @property
    def sample_bytes(self) -> int:
        """Upper bound on the size of one decoded sample, in bytes."""
        return sum(int(np.prod(m.shape)) * np.dtype(m.dtype).itemsize for m in self.modalities.values())

    def why_unfit(self, name: str, array: Array) -> str:
        """Return why `array` does not fit the network as a sample of the modality `name`, or nothing."""
        shape = self.modalities[name].shape
        if self.modalities[name].kind != "audio" and array.shape != shape:
            return f"has shape {list(array.shape)}, the trial's samples have {list(shape)}"
        known = getattr(self.network.config.encoders[name], "vocabulary", None)
        if self.modalities[name].kind == "text" and known is not None and array.max() >= known:
            return f"has token id {array.max()}, but the network knows {known}"
        return ""

    def network_for(self, names: Iterable[str]) -> tuple[MultiModalNetwork, int]:
        """Return the network for the modalities `names` only, and its batch size."""
        key = tuple(name for name in self.modalities if name in set(names))
        if key not in self._parts:
            part = restricted(self.network, key)
            assert part is not None, "rows without a required modality are rejected earlier"
            zeros = {name: zeros_like_stored(self.modalities[name]).to(self.device) for name in key}
            size = sum(x.numel() * x.element_size() for x in part.transform(zeros).values())
            self._parts[key] = part, max(1, min(BATCH, BATCH_BYTES[self.device.type] // size))
        return self._parts[key]

    def batch(self, samples: list[dict[str, Decoded]]) -> dict[str, Any]:
        """Collate decoded samples with the same modalities for the network's `transform`."""
        raw: dict[str, Any] = {}
        for name in samples[0]:
            arrays = [sample[name].array for sample in samples]
            if self.modalities[name].kind == "audio":
                lengths = np.array([len(array) for array in arrays], dtype=np.int64)
                raw[name] = Sounds(torch.from_numpy(np.concatenate(arrays)).to(self.device), lengths)
            else:
                raw[name] = torch.from_numpy(np.stack(arrays)).to(self.device)
        return raw


def _description(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise BssError(f"{folder}: no such folder. --run needs the folder of one trial, {_EXAMPLE}.")
    if not (folder / "network.json").exists():
        raise BssError(f"{folder}: has no finished trial (network.json). --run needs a folder such as {_EXAMPLE}.")
    return read_json(folder / "network.json", "train", {"network": dict, "modalities": dict, "classes": list})


def _require_no_code(folder: Path, description: dict[str, Any]) -> None:
    for name, encoder in _encoders(description).items():
        if encoder.get("kind") == "python" or encoder.get("remote_code"):
            what = encoder.get("factory") or f"the code of {encoder.get('model')}"
            raise BssError(
                f"{folder / 'network.json'}: the encoder of `{name}` runs {str(what)[:200]}. If you trust it, run "
                "`bss predict` with --own-code, in the folder of the project that it was trained in."
            )


def _encoders(description: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the encoders of network.json, which may be damaged, by modality."""
    encoders = description["network"].get("encoders")
    found = encoders.items() if isinstance(encoders, dict) else ()
    return {name: encoder for name, encoder in found if isinstance(encoder, dict)}


_EXAMPLE = "outputs/runs/bss-l/seed=0"


def _preprocessing(folder: Path, modalities: dict[str, Modality]) -> Preprocessing:
    path = folder / PREPROCESSING
    if not path.exists():
        raise BssError(
            f"{path}: not found; it records how to decode new files. Run `bss prepare`, `bss measure`, "
            "`bss schedule` and `bss train` (or `dvc repro`) with this version."
        )
    preprocessing = read_preprocessing(path, "train")
    kinds = {name: kind.kind for name, kind in preprocessing.modalities.items()}
    expected = {name: modality.kind for name, modality in modalities.items()}
    if kinds != expected:
        raise BssError(f"{path}: damaged (decodes {kinds}, but network.json has {expected}). {FIX}")
    return preprocessing


def _changed_code(description: dict[str, Any], inputs: dict[str, Any]) -> list[str]:
    """Return a sentence about each encoder whose code is not the one that it was trained with, by its digest."""
    return [
        f"{encoder['factory']}, the encoder of `{name}`, or what it imports has changed since the network was trained."
        for name, encoder in _encoders(description).items()
        if encoder.get("kind") == "python"
        and (recorded := inputs.get(f"source_{name}")) is not None
        and recorded != digest_source(str(encoder.get("factory")), f"network.encoders.{name}.factory")
    ]


def _network(
    folder: Path, description: dict[str, Any], parameters: dict[str, Any], device: torch.device, changed: list[str]
) -> MultiModalNetwork:
    try:
        network = build_network(description, device=device)
        weights = torch.load(folder / "model.pt", weights_only=True, map_location=device)
        network.load_state_dict(weights)
        network.precision = parameters["train"]["precision"]
    except FileNotFoundError as error:
        raise BssError(f"{folder / 'model.pt'}: not found. {FIX}") from error
    except (BssError, MemoryError):
        raise
    except Exception as error:  # damaged files raise many types, of torch's and Python's
        why = " ".join([f"({first_line(error)}).", *changed, FIX])
        raise BssError(f"{folder}: model.pt and network.json cannot be read {why}") from error
    return network.eval()
