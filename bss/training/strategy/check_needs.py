"""What strategies need of the data and of the network, checked before the first trial starts."""

from collections.abc import Iterable

from bss.config import Config
from bss.config.combinations import strategy_of
from bss.data.store import Store
from bss.errors import BssError
from bss.models.network import MultiModalNetwork, build_network, describe_network
from bss.strategies import Strategy


def check_needs(config: Config, store: Store, names: Iterable[str]) -> None:
    """Raise `BssError` if the data or the network lack what a strategy of these `names` needs.

    The network is built for strategies that ask for its widths alone: large ones take a while.
    """
    for name in dict.fromkeys(names):
        strategy = strategy_of(config, name)
        if strategy is None or strategy.plain:
            continue
        require_val(strategy, store)
        if strategy.one_width:
            require_widths(strategy, build_network(describe_network(config.network, store)))


def require_val(strategy: Strategy, store: Store) -> None:
    """Raise `BssError` if `strategy` needs val and `store` has none."""
    if strategy.needs_val and not len(store.rows("val")):
        raise BssError(
            f"{store.path}: has no val, which the strategy `{strategy.kind}` adapts its weights or rates on; the test "
            "split is never used for that. Give the manifest a val split and run `bss prepare` again."
        )


def require_widths(strategy: Strategy, network: MultiModalNetwork) -> None:
    """Raise `BssError` if `strategy` needs encoders of one width and those of `network` have several."""
    widths = {name: encoder.width for name, encoder in network.encoders.items()}
    if strategy.one_width and len(set(widths.values())) > 1:
        raise BssError(
            f"params.yaml: strategies: `{strategy.kind}` compares features of all modalities, but the encoders have "
            f"{widths}: set network.encoders.<modality>.features to one width, or `contrast: 0`."
        )
