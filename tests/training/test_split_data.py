import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from paper_networks import RESNET, SPECTROGRAM, config_of, write_store
from torch.utils._python_dispatch import TorchDispatchMode

from bss.config.crop import Crop
from bss.data.store import Store
from bss.errors import BssError
from bss.models.inputs.augmentation import Augmentation
from bss.models.network import build_network, describe_network
from bss.training.reproducible import make_reproducible
from bss.training.samples import split_data
from bss.training.samples.read_ahead import AHEAD, read_ahead
from bss.training.samples.split_data import SplitData, what_stays

CPU, GPU = torch.device("cpu"), torch.device("cuda")
CROP = Crop(10, 12, frames=3)
WAYS = ("inputs", "stored", "nothing")
BATCHES = [np.array([3, 0, 20]), np.arange(36), np.array([], dtype=np.int64), np.array([7, 7]), *np.arange(20)[:, None]]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store.open(write_store(tmp_path_factory.mktemp("kinds") / "store", ["audio", "clip", "flow"]))


def make(store, crop=None, split="train", way=None, monkeypatch=None):
    """Return the split's data for a network with `crop` in two encoders; `way` is what stays on the device."""
    encoders = {"audio": RESNET | {"spectrogram": SPECTROGRAM}, "clip": {"kind": "i3d"}, "flow": {"kind": "i3d"}}
    network = config_of(store.path, {"encoders": encoders}).network
    changed = {name: replace(network.encoders[name], crop=crop) for name in ("clip", "flow")}
    network = replace(network, encoders=network.encoders | changed)
    if way is not None:
        monkeypatch.setattr(split_data, "what_stays", lambda *_: way)
    return SplitData(store, split, build_network(describe_network(network, store)), CPU)


def collect(data, batches, augmentation=None):
    return [
        ({name: x.clone() for name, x in inputs.items()}, labels)
        for inputs, labels in data.batches(batches, augmentation)
    ]


@pytest.mark.slow
def test_what_stays_on_the_device_gives_the_same_bits_as_what_is_read(store, monkeypatch):
    found = {way: collect(make(store, way=way, monkeypatch=monkeypatch), BATCHES) for way in WAYS}
    for way in WAYS[1:]:
        for (mine, labels), (others, other_labels) in zip(found["inputs"], found[way], strict=True):
            assert torch.equal(labels, other_labels)
            assert mine.keys() == others.keys() == set(store.modalities)
            assert all(torch.equal(x, others[name]) for name, x in mine.items())


def test_a_thread_makes_the_bits_that_the_one_which_trains_would_make(store, monkeypatch):
    threads = torch.get_num_threads()
    make_reproducible()
    try:
        data = make(store, way="nothing", monkeypatch=monkeypatch)
        ((made, _),) = data.batches([np.arange(36)])
        here = data._transform(data._on_device(data._read(np.arange(36), None)), np.arange(36), None)
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode("default")
    assert all(torch.equal(x, here[name]) for name, x in made.items())


def test_a_pass_without_augmentation_keeps_its_inputs_where_they_fit(store, monkeypatch):
    data = make(store, CROP)
    kept = data.unaugmented()
    for (mine, labels), (others, other_labels) in zip(collect(kept, BATCHES), collect(data, BATCHES), strict=True):
        assert torch.equal(labels, other_labels)
        assert all(torch.equal(x, others[name]) for name, x in mine.items())
    monkeypatch.setattr(Store, "read", None)  # nothing is read any more
    assert len(collect(kept, BATCHES)) == len(BATCHES)
    assert kept.unaugmented() is kept
    monkeypatch.setattr(split_data, "CACHE_BYTES", data.sample_bytes * len(data) - 1)
    assert data.unaugmented() is data


def test_inputs_stay_valid_while_later_ones_are_read(store, monkeypatch):
    data = make(store, way="nothing", monkeypatch=monkeypatch)
    kept = [inputs for inputs, _ in data.batches(BATCHES)]
    for mine, (others, _) in zip(kept, collect(data, BATCHES), strict=True):
        assert all(torch.equal(x, others[name]) for name, x in mine.items())


def test_what_augmentation_does_to_a_sample_depends_on_neither_its_batch_nor_how_it_is_read(store, monkeypatch):
    augmentation = Augmentation(2, "training", 1)
    found = {}
    for way in WAYS[1:]:
        data = make(store, CROP, way=way, monkeypatch=monkeypatch)
        found[way] = collect(data, [np.arange(36), np.array([30, 5]), np.array([5])], augmentation)
    for (whole, _), (two, _), (one, _) in found.values():
        assert whole["clip"].shape == (36, 3, 1, 10, 12)
        for name in ("clip", "flow"):
            assert torch.equal(two[name][1], whole[name][5])
            assert torch.equal(one[name][0], whole[name][5])
            assert torch.equal(found["stored"][0][0][name], found["nothing"][0][0][name])
    later = collect(data, [np.arange(36)], Augmentation(2, "training", 2))[0][0]
    assert not torch.equal(later["clip"], found["nothing"][0][0]["clip"])


def test_modalities_that_are_stored_in_one_size_are_cut_alike(store):
    """Where both modalities hold the same numbers, they do so after augmentation."""
    data = make(store, replace(CROP, frames=None))
    numbers = np.random.default_rng(0).integers(0, 256, (8, 4, 1, 16, 16))
    raw = {
        "audio": torch.zeros(8, 400),
        "clip": torch.from_numpy(numbers.astype(np.uint8)),
        "flow": torch.from_numpy(numbers.repeat(2, axis=2).astype(np.float16)),
    }
    drawn = Augmentation(0, "training", 0).draw(np.arange(8))
    parts = {name: crop(raw[name], drawn) for name, crop in data.network.crops.items()}
    down = parts["flow"][:, :, 1]
    scale = (down.sum(dim=(1, 2, 3)) / parts["clip"].sum(dim=(1, 2, 3, 4)))[:, None, None, None]
    assert (down / scale - parts["clip"][:, :, 0]).abs().max() < 2  # those of the clip are whole numbers
    assert (scale > 0.6).all()  # vectors as long as the new pixels make them


@pytest.mark.slow
def test_evaluation_and_other_splits_are_not_augmented(store):
    train, val = make(store, CROP), make(store, CROP, "val")
    assert train._inputs is None
    assert val._inputs is not None
    first, second = (collect(train, [np.arange(6)])[0][0] for _ in range(2))
    centre = make(store, replace(CROP, train="whole", flip=False))
    assert all(torch.equal(x, second[name]) for name, x in first.items())
    assert all(torch.equal(x, collect(centre, [np.arange(6)])[0][0][name]) for name, x in first.items())


@pytest.mark.parametrize(
    ("inputs", "stored", "augmented", "device", "expected"),
    [
        (2 << 30, 9 << 30, False, CPU, "inputs"),
        ((2 << 30) + 1, 5, False, CPU, "nothing"),
        (5, 5, True, CPU, "nothing"),
        (5, 5, True, GPU, "stored"),
        (3 << 30, 2 << 30, False, GPU, "stored"),
        (3 << 30, 3 << 30, False, GPU, "nothing"),
    ],
)
def test_what_is_small_stays_on_the_device(inputs, stored, augmented, device, expected):
    assert what_stays(inputs, stored, augmented, device) == expected


def test_batches_are_read_ahead_in_order_into_memory_that_is_used_again():
    started, rooms = [], {}

    def read(item, memory):
        room = memory.room("x", 8 * (1 + item % 3))
        room[0] = item
        started.append(item)
        return room

    for expected, (found, memory) in enumerate(read_ahead(read, range(50), CPU)):
        assert found[0] == expected  # nothing writes into the memory of the batch that is worked on
        rooms[id(memory)] = memory
        assert max(started) <= expected + AHEAD["cpu"]
    assert len(rooms) == AHEAD["cpu"] + 1
    assert sorted(started) == list(range(50))


def test_what_goes_wrong_while_reading_is_raised_and_no_thread_is_left(store, monkeypatch):
    data = make(store, way="nothing", monkeypatch=monkeypatch)

    def fail(*_):
        raise BssError("clip.npy: gone")

    read = data.batches([np.arange(3)] * 20)
    next(read)
    monkeypatch.setattr(store, "read", fail)
    with pytest.raises(BssError, match="gone"):
        list(read)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


def test_picking_a_batch_takes_as_many_kernels_whatever_its_size(store, monkeypatch):
    class Calls(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            self.count += 1
            return function(*arguments, **(keywords or {}))

    data = make(store, CROP, way="stored", monkeypatch=monkeypatch)
    monkeypatch.setattr(data, "_transform", lambda raw, index, augmentation: raw)
    counts = []
    for size in (8, 36):
        with Calls() as calls:
            ((raw, _),) = data.batches([np.arange(size)])
        counts.append(calls.count)
        assert raw["audio"].values is data._raw["audio"].values  # no sound is copied
        assert len(raw["audio"].lengths) == len(raw["clip"]) == size
    assert counts[0] == counts[1] > 0
