import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from bss.config.encoders import Spectrogram
from bss.data.sounds import Sounds, to_float, to_int16
from bss.models.inputs.transform import LogSpectrogram
from bss.models.inputs.waveforms import Waveforms, fill, gathered, place


def filled(length, short):
    waveform = torch.full((length,), 9.0)  # memory that something else was in
    fill(waveform, torch.tensor([1.0, 2.0, 3.0]), short)
    return waveform.tolist()


def test_length_is_cut_padded_or_tiled():
    assert filled(2, "pad") == filled(2, "tile") == [1, 2]
    assert filled(3, "pad") == filled(3, "tile") == [1, 2, 3]
    assert filled(5, "pad") == [1, 2, 3, 0, 0]
    for length in range(4, 30):
        assert filled(length, "tile") == ([1, 2, 3] * 10)[:length]


@pytest.mark.parametrize("short", ["pad", "tile"])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_sounds_of_different_length_become_a_batch(short, dtype):
    random = np.random.default_rng(0)
    sounds = [random.uniform(-1, 1, length).astype(np.float32) for length in (1, 5, 8, 3)]
    stored = [to_int16(sound) if dtype == np.int16 else sound for sound in sounds]
    lengths = np.array([len(sound) for sound in stored])
    batch = Waveforms(8, short)(Sounds(torch.from_numpy(np.concatenate(stored)), lengths))
    assert batch.dtype == torch.float32
    fill = {"pad": lambda x: np.pad(x, (0, 8 - len(x))), "tile": lambda x: np.resize(x, 8)}[short]
    np.testing.assert_array_equal(batch, [fill(to_float(sound)) for sound in stored])


def test_a_tensor_of_sounds_of_one_length_does_too():
    sounds = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    assert Waveforms(3, "pad")(sounds).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert Waveforms(4, "pad")(sounds).tolist() == [[0, 1, 2, 0], [3, 4, 5, 0]]
    assert Waveforms(2, "pad")((sounds * 8192).short()).tolist() == [[0, 0.25], [0.75, -1]]


class Calls(TorchDispatchMode):
    """What is dispatched: on a GPU each is one kernel or none."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        self.names.append(str(function))
        return function(*arguments, **(keywords or {}))


def calls_of(run):
    with Calls() as calls:
        run()
    return calls.names


def random_values(count, dtype):
    random = torch.Generator().manual_seed(count)
    if dtype == torch.float32:
        return torch.randn(count, generator=random)
    return torch.randint(-(2**15), 2**15, (count,), generator=random).to(dtype)


@pytest.mark.slow
@pytest.mark.parametrize("short", ["pad", "tile"])
@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])
@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=9), length=st.integers(1, 50), data=st.data())
def test_one_gather_has_the_bits_of_copies_one_by_one(short, dtype, lengths, length, data):
    sounds = Sounds(random_values(sum(lengths), dtype), np.array(lengths))
    which = torch.tensor(data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=12)), dtype=torch.int64)
    one_by_one = Waveforms(length, short)(sounds)
    assert torch.equal(gathered(place(sounds), length, short), one_by_one)
    assert torch.equal(gathered(place(sounds)[which], length, short), one_by_one[which])
    assert torch.equal(Waveforms(length, short)(place(sounds)[which]), one_by_one[which])


@pytest.mark.parametrize("short", ["pad", "tile"])
@pytest.mark.parametrize("kind", ["sounds", "placed", "tensor"])
def test_off_the_cpu_a_batch_takes_as_many_kernels_as_one_sound_and_the_host_waits_for_nothing(short, kind):
    """The meta device takes the way of a GPU."""

    def run(count):
        sounds = torch.zeros(count, 7, dtype=torch.int16, device="meta")
        if kind != "tensor":
            lengths = 1 + np.arange(count) % 7
            sounds = Sounds(torch.zeros(int(lengths.sum()), dtype=torch.int16, device="meta"), lengths)
        if kind == "placed":
            sounds = place(sounds)
        waveforms = Waveforms(20, short)
        assert waveforms(sounds).shape == (count, 20)
        return calls_of(lambda: waveforms(sounds))

    eight = run(8)
    assert eight == run(64) == run(1)
    assert eight.count("aten.index.Tensor") == 1
    assert not [call for call in eight if "_local_scalar_dense" in call or "nonzero" in call]


def test_a_spectrogram_of_a_batch_takes_as_many_kernels_as_that_of_a_smaller_one():
    spectrogram = LogSpectrogram(Spectrogram(16, 8, 2), 4000, Waveforms(40, "tile")).to("meta")

    def run(count):
        sounds = Sounds(torch.zeros(9 * count, device="meta"), np.full(count, 9))
        return calls_of(lambda: spectrogram(sounds))

    assert run(8) == run(64)
