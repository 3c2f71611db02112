"""Last blocks and adapters of pretrained models: two ranks, bf16 and the compiler train them as one process does."""

import functools
import multiprocessing
import warnings
from dataclasses import replace

import pytest
import torch
from test_own_encoders import LAST, LORA, own_tree, save_models
from trials import train_at

from bss.config import config_from_tree
from bss.data.store import Store
from bss.stages.schedule import schedule
from bss.training.distributed.ranks import ALONE, Ranks

pytestmark = [pytest.mark.process, pytest.mark.slow]

WAYS = {"fp32": {}, "bf16": {"precision": "bf16"}, "compiled": {"compile": True}}
"""Keys of `train`."""
CLOSE = {"fp32": 1e-5, "bf16": 1e-3, "compiled": 1e-5}
"""Greatest difference of a weight between two ranks and one process; bf16 rounds to 8 bits in every operation."""


def train_in_each_way(ranks, config, store, folder):
    """Train `WAYS`, each into a folder of its name; all of torch.compile but the C++ compiler, which takes a minute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
        for name, keys in WAYS.items():
            own = replace(config, train=replace(config.train, processes=ranks.count, **keys))
            path = folder / str(ranks.count) / name
            train_at(path, own, Store.open(store), folder / "plans", "uniform", 0, lambda row: None, ranks)


def train_as_rank(rank, config, store, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    train_in_each_way(Ranks(rank, 2), config, store, folder)
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("one_thread")
def test_parts_of_models_train_over_two_ranks_in_bf16_and_compiled_as_in_one_process(small_root, small_store, tmp_path):
    save_models(tmp_path)
    tree = own_tree(small_root, tmp_path)
    tree["network"]["encoders"]["audio"] |= LAST
    tree["network"]["encoders"]["image"] |= LORA
    tree["network"]["encoders"]["vector"] = {"kind": "mlp"}
    tree["schedule"]["schedulers"] = {"uniform": {"kind": "uniform"}}
    config = config_from_tree(tree, "params.yaml")
    schedule(config, small_store, tmp_path / "scores", tmp_path / "plans")
    with warnings.catch_warnings(record=True) as seen:
        train_in_each_way(ALONE, config, small_store, tmp_path)
    assert not [str(warning.message) for warning in seen if "lru_cache" in str(warning.message)]
    multiprocessing.set_forkserver_preload(["torch._dynamo", "transformers", "bss.training.trial_folder"])
    arguments = (config, small_store, tmp_path)
    torch.multiprocessing.start_processes(train_as_rank, arguments, nprocs=2, start_method="forkserver")
    one, two = ({way: torch.load(tmp_path / count / way / "model.pt") for way in WAYS} for count in "12")
    for way, weights in one.items():
        for name, value in weights.items():
            torch.testing.assert_close(two[way][name], value, atol=CLOSE[way], rtol=1e-4)
    for name, value in one["fp32"].items():
        torch.testing.assert_close(one["compiled"][name], value, atol=1e-5, rtol=1e-4)
        assert ".lora_B." not in name or value.abs().max() > 0
    prefix = "encoders.audio.model.model.encoder.layers."
    moved = {name for name in one["fp32"] if not torch.equal(one["fp32"][name], one["bf16"][name])}
    assert {name.removeprefix(prefix)[0] for name in moved if name.startswith(prefix)} == {"2"}
