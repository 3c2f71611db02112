"""Low-rank adapters in a pretrained model: peft puts them into its layers."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from bss.config.own_encoders import Lora
from bss.errors import BssError, first_line
from bss.extras import not_installed

BASE, ADAPTER = ".base_layer.", "lora_"
"""Parts of names in an adapted model: a layer's own weights, and what peft adds to it."""


def add_adapters(model: nn.Module, lora: Lora, modality: str) -> None:
    """Put adapters into layers of `model`, in place, and let gradients reach them alone.

    A layer's output is first what it was: its update starts at 0. Raises `BssError` if peft is missing, or takes no
    layer of this model.
    """
    key = f"params.yaml: network.encoders.{modality}"
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError as error:
        raise BssError(f"{key}.trainable: lora: {not_installed(error.name)}.") from error
    names = list(lora.target_modules) if isinstance(lora.target_modules, tuple) else lora.target_modules
    settings = LoraConfig(r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=names)
    linear = sorted({name.rpartition(".")[2] for name, m in model.named_modules() if isinstance(m, nn.Linear)})
    try:
        inject_adapter_in_model(settings, model)
    except ValueError as error:
        kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
        why = f"peft has no default for {kind}" if names is None else first_line(error).rstrip(".")
        raise BssError(
            f"{key}.lora.target_modules: {'null' if names is None else names}: {why}. Set it to all-linear or to some "
            f"of the model's linear layers: {', '.join(linear)}."
        ) from error


def adapter_modules(model: nn.Module) -> list[nn.Module]:
    """Return the modules that `add_adapters` added to `model`, their dropout among them."""
    return [m for name, m in model.named_modules() if any(part.startswith(ADAPTER) for part in name.split("."))]


def load_base(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load `weights`, named as without adapters, into `model`, which may have some; those stay as they are."""
    own: dict[str, Any] = model.state_dict()
    names = {name.replace(BASE, "."): name for name in own if f".{ADAPTER}" not in name}
    if len(names) == len(own):
        model.load_state_dict(weights)
        return
    model.load_state_dict(own | {names[name]: value for name, value in weights.items()})
