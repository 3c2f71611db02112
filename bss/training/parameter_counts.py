"""How many parameters the encoders from outside have, and how many of them are trained."""

from bss.config.own_encoders import HuggingfaceConfig, PythonConfig
from bss.models.network import MultiModalNetwork


def parameter_counts(network: MultiModalNetwork) -> dict[str, int]:
    """Return ``parameters/<modality>`` and ``parameters_trained/<modality>`` of each encoder from outside.

    A pretrained model counts whether or not it is frozen; so does the linear layer after it.
    """
    counts: dict[str, int] = {}
    for name, config in network.config.encoders.items():
        if isinstance(config, PythonConfig | HuggingfaceConfig):
            found = {*network.encoders[name].parameters(), *network.transforms[name].parameters()}
            counts[f"parameters/{name}"] = sum(p.numel() for p in found)
            counts[f"parameters_trained/{name}"] = sum(p.numel() for p in found if p.requires_grad)
    return counts
