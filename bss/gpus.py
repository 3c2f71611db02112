"""What `bss doctor` says of each GPU: what it is, and whether the network of params.yaml trains deterministically."""

import os
from pathlib import Path

from bss.config import Config
from bss.config.modalities import AudioKind, FeaturesKind, FlowKind, ModalityKind, TextKind
from bss.data.store import Modality, Store
from bss.errors import BssError

STORE = Path("outputs/store")
"""Has the shapes that params.yaml does not tell: those of features."""
GIB = 1024**3
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
DETERMINISTIC_WORKSPACES = (":4096:8", ":16:8")


def look_at_gpus(config: Config | None) -> list[tuple[str, str, bool]]:
    """Return for each GPU its name, what was found, and whether that is fine; nothing where there is none."""
    import torch

    if not torch.cuda.is_available():
        return []
    network, fine = ("", True) if config is None else _network(config)
    found = []
    for number in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(number)
        what = f"{gpu.name}, {gpu.total_memory / GIB:.1f} GiB, compute capability {gpu.major}.{gpu.minor}"
        found.append((f"GPU {number}", f"{what}; {network}" if network else what, fine))
    return found


def _network(config: Config) -> tuple[str, bool]:
    """Return whether the network of `config` trains deterministically on a GPU, in words, and whether that is fine."""
    if config.resources.device == "cpu":
        return "not used (resources.device: cpu)", True
    workspace = os.environ.get(WORKSPACE)
    if workspace is not None and workspace not in DETERMINISTIC_WORKSPACES:
        right = " or ".join(DETERMINISTIC_WORKSPACES)
        return f"{WORKSPACE} is {workspace}, with which it is not deterministic: unset it, or set it to {right}", False
    from bss.models.deterministic_ops import nondeterministic_operations
    from bss.models.network import MultiModalNetwork

    try:
        modalities = {name: _modality(name, kind) for name, kind in config.prepare.modalities.items()}
        network = MultiModalNetwork(config.network, modalities, classes=2)
    except BssError as error:
        return f"whether the network trains deterministically on it is not known: {error}", False
    except LookupError:
        return "whether the network trains deterministically on it is not known before `bss prepare`", True
    operations = ", ".join(map(str, nondeterministic_operations(network, modalities)))
    if not operations:
        return "the network trains deterministically on it", True
    allowed = config.resources.deterministic == "warn"
    end = "two runs may differ" if allowed else "take other parts, or set resources.deterministic to warn"
    return f"the network does not train deterministically on it: {operations}; {end}", allowed


def _modality(name: str, kind: ModalityKind) -> Modality:
    """Return what the store will hold of the modality `name`; LookupError where neither params nor a store tell."""
    if isinstance(kind, AudioKind):
        return Modality("audio", (kind.samples,), kind.stored, kind.sample_rate, kind.short)
    if isinstance(kind, FeaturesKind):
        try:
            return Store.open(STORE).modalities[name]
        except BssError as error:
            raise LookupError(name) from error
    if isinstance(kind, TextKind):
        return Modality("text", (kind.tokens,), "int32")
    if isinstance(kind, FlowKind):
        return Modality("flow", (kind.frames, 2, kind.height, kind.width), "float16")
    frames = {"frames": getattr(kind, "count", 1), "clip": getattr(kind, "frames", 1)}
    many = (frames[kind.kind],) if kind.kind in frames else ()
    return Modality(kind.kind, (*many, kind.channels, kind.height, kind.width), "uint8")
