"""Kind `python`: a module of the user's own code as an encoder."""

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bss.config.own_encoders import PythonConfig
from bss.errors import BssError, first_line
from bss.models.encoders.base import Encoder
from bss.models.encoders.probe import probe
from bss.models.project_code import load_factory


class PythonModule(Encoder):
    """Inputs [batch, ...] of the modality's kind to features float [batch, width], by the module that `config` names.

    Raises `BssError` if the factory cannot be imported or fails, if it returns no module, or if the module does not
    take inputs like `sample` (without the batch) or returns another width.
    """

    def __init__(self, config: PythonConfig, sample: Tensor, modality: str) -> None:
        super().__init__(config.width, config.features)
        key = f"params.yaml: network.encoders.{modality}"
        self.model = _made(config, f"{key}.factory")
        width = probe(self.model, self.model, sample, f"{key}.factory: {config.factory}")
        if width != config.width:
            raise BssError(f"{key}.width: {config.width}, but {config.factory} returns {width} numbers per sample.")
        self.mixes = any(isinstance(module, _BatchNorm) for module in self.model.modules())

    def encode(self, inputs: Tensor) -> Tensor:
        if len(inputs) == 0 and not self.mixes:  # a rank's share of a small batch; its parameters still take part
            return self.model(inputs.new_zeros(1, *inputs.shape[1:]))[:0]
        features: Tensor = self.model(inputs)
        return features


def _made(config: PythonConfig, key: str) -> nn.Module:
    factory = load_factory(config.factory, key)
    try:
        module = factory(**config.arguments)
    except (Exception, SystemExit) as error:  # the user's own code
        call = f"{config.factory}({', '.join(config.arguments)})"
        raise BssError(f"{key}: {call} raises {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(module, nn.Module):
        what = f"the class {module.__name__}" if isinstance(module, type) else type(module).__name__
        raise BssError(f"{key}: {config.factory} returns {what}; it must return a torch.nn.Module.")
    return module
