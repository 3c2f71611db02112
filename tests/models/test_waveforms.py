import numpy as np
import pytest
import torch

from bss.data.sounds import Sounds, to_float, to_int16
from bss.models.waveforms import Waveforms, fill


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
