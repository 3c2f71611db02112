"""`bss doctor`, per GPU: its model, and whether the network of params.yaml trains deterministically."""

import os
from pathlib import Path

from bss.config import Config
from bss.config.modalities import AudioKind, FeaturesKind, FlowKind, ModalityKind, TextKind
from bss.data.store import Modality, Store
from bss.errors import BssError

STORE = Path("outputs/store")
"""Has the shapes of features, which params.yaml does not specify."""
GIB = 1024**3
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
DETERMINISTIC_WORKSPACES = (":4096:8", ":16:8")


def look_at_gpus(config: Config | None) -> list[tuple[str, str, bool]]:
    """Return for each GPU its name, what was found, and whether it passes; empty without a GPU."""
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
    """Describe whether the network of `config` trains deterministically on a GPU, and return whether that passes."""
    if config.resources.device == "cpu":
        return "not used (resources.device: cpu)", True
    workspace = os.environ.get(WORKSPACE)
    if workspace is not None and workspace not in DETERMINISTIC_WORKSPACES:
        right = " or ".join(DETERMINISTIC_WORKSPACES)
        return f"{WORKSPACE}={workspace} makes training nondeterministic: unset it, or set it to {right}", False
    from bss.models.deterministic_ops import nondeterministic_operations
    from bss.models.network import MultiModalNetwork

    try:
        modalities = {name: _modality(name, kind) for name, kind in config.prepare.modalities.items()}
        network = MultiModalNetwork(config.network, modalities, classes=2)
    except BssError as error:
        return f"cannot check whether the network trains deterministically: {error}", False
    except LookupError:
        return "determinism cannot be checked before `bss prepare`", True
    operations = ", ".join(map(str, nondeterministic_operations(network, modalities)))
    if not operations:
        return "the network trains deterministically", True
    allowed = config.resources.deterministic == "warn"
    end = "two runs may differ" if allowed else "choose other layers, or set resources.deterministic to warn"
    return f"the network does not train deterministically: {operations}; {end}", allowed


def _modality(name: str, kind: ModalityKind) -> Modality:
    """Return the stored form of the modality `name`; LookupError if neither params nor a store specify it."""
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
