"""From a strategy's parameters to what a training works with."""

from dataclasses import dataclass, replace

from bss.config import Config
from bss.config.strategies import setting_of
from bss.config.training import with_epochs
from bss.data.store import Store
from bss.models.network import MultiModalNetwork
from bss.strategies import Strategy
from bss.strategies.none import Plain
from bss.strategies.weights import Weighted
from bss.training.distributed.ranks import Ranks
from bss.training.strategy.check_needs import require_val, require_widths
from bss.training.strategy.run import StrategyRun
from bss.training.targets import PLAIN, Targets

UNIMODAL = Weighted(fused=0.0, unimodal=1.0)
"""How teachers are trained: encoders and heads of all modalities in one network, with nothing between them."""


@dataclass(frozen=True)
class Teachers:
    """The teachers of one seed, and what they cost."""

    network: MultiModalNetwork
    """A network in eval mode, without gradients; its encoders and heads are the teachers."""
    steps: int
    samples: int
    flops: int
    seconds: float


def config_for(strategy: Strategy | None, config: Config) -> Config:
    """Return `config` with the network and the epochs of `strategy`, and the prediction by logits that it trains."""
    strategy = strategy or Plain()
    config = replace(config, train=with_epochs(config.train, strategy.total_epochs(config.train.epochs)))
    setting, network = setting_of(config), config.network
    changes = {**strategy.network(setting), "prediction": strategy.prediction(setting) or network.prediction}
    changes["heads"] = replace(network.heads, **changes.get("heads", {}))
    return replace(config, network=replace(network, **changes))


def start_strategy(
    strategy: Strategy | None,
    config: Config,
    store: Store,
    network: MultiModalNetwork,
    ranks: Ranks,
    seed: int,
    teachers: Teachers | None = None,
    targets: Targets = PLAIN,
) -> StrategyRun | None:
    """Return `strategy` at work on `network`, None for none; raises `BssError` if it needs what there is not.

    The encoders of `network` become those of `teachers` if the strategy wants them `pretrained`.
    """
    if strategy is None or strategy.plain:
        return None
    require_val(strategy, store)
    require_widths(strategy, network)
    setting = replace(setting_of(config), modalities=tuple(network.heads))
    if strategy.pretrained:
        assert teachers is not None
        network.encoders.load_state_dict(teachers.network.encoders.state_dict())
    asked = teachers.network if strategy.taught and teachers is not None else None
    return StrategyRun(strategy, setting, network, ranks, seed, asked, store.labels[store.rows("train")], targets)
