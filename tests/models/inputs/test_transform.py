import librosa
import numpy as np
import pytest
import torch

from bss.config.encoders import BertConfig, CnnConfig, I3dConfig, ResNetConfig, Spectrogram, VitConfig
from bss.data.sounds import Sounds
from bss.data.store import Modality
from bss.errors import BssError
from bss.models.inputs.transform import build_transform


def transform(encoder, kind, raw):
    shape, dtype = tuple(raw.shape[1:]), str(raw.dtype).removeprefix("torch.")
    return build_transform(encoder, Modality(kind, shape, dtype, None), "thing")(raw)


@pytest.mark.slow
@pytest.mark.parametrize("short", ["pad", "tile"])
@pytest.mark.parametrize(("n_fft", "hop"), [(512, 353), (64, 16), (17, 40)])
def test_a_spectrogram_is_the_logarithm_of_librosas_and_no_other_sample_changes_a_bit_of_it(n_fft, hop, short):
    random, lengths = np.random.default_rng(0), [300, 4000, 1, 2500]
    sounds = [random.normal(0, 0.1, length).astype(np.float32) for length in lengths]
    modality = Modality("audio", (4000,), "float32", 8000, short)
    spectrogram = build_transform(ResNetConfig("resnet", spectrogram=Spectrogram(n_fft, hop)), modality, "thing")

    def make(index):
        values = torch.from_numpy(np.concatenate([sounds[i] for i in index]))
        return spectrogram(Sounds(values, np.array([lengths[i] for i in index])))

    together = make(range(4))
    for sound, found in zip(sounds, together, strict=True):
        filled = np.resize(sound, 4000) if short == "tile" else np.pad(sound, (0, 4000 - len(sound)))
        magnitude = np.abs(librosa.stft(filled, n_fft=n_fft, hop_length=hop, pad_mode="constant"))
        np.testing.assert_allclose(np.exp(found[0].numpy()), magnitude + 1e-7, rtol=1e-4, atol=1e-5)
    spectrum = torch.stft(
        spectrogram.waveforms(torch.from_numpy(sounds[1][None])),
        n_fft, hop, window=spectrogram.window, pad_mode="constant", return_complex=True,
    )  # fmt: skip
    torch.testing.assert_close(together[1], torch.log(spectrum.abs() + 1e-7), rtol=1e-6, atol=1e-6)
    for index in ([2], [3, 0], [1, 1, 2]):
        assert torch.equal(make(index), together[torch.tensor(index)])


def test_pixels_are_normalised_as_the_encoder_says():
    raw = torch.tensor([0, 51, 255], dtype=torch.uint8)[None, :, None, None].expand(1, 3, 2, 2)
    unit = transform(CnnConfig("cnn"), "image", raw)[0, :, 0, 0]
    np.testing.assert_allclose(unit.numpy(), [0, 0.2, 1], rtol=1e-6)
    half = transform(VitConfig("vit"), "image", raw)[0, :, 0, 0]
    np.testing.assert_allclose(half.numpy(), [-1, -0.6, 1], rtol=1e-6)
    expected = [(0 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    imagenet = transform(ResNetConfig("resnet"), "image", raw)[0, :, 0, 0]
    np.testing.assert_allclose(imagenet.numpy(), expected, rtol=1e-5)
    plain = transform(ResNetConfig("resnet", normalisation="none"), "image", raw)[0, :, 0, 0]
    torch.testing.assert_close(plain, unit)


def test_frames_are_normalised_as_images_and_grey_ones_not_with_the_mean_of_colours():
    raw = torch.full((2, 4, 3, 2, 2), 51, dtype=torch.uint8)
    assert transform(ResNetConfig("resnet"), "frames", raw)[1, 3, 1, 0, 0] == pytest.approx((0.2 - 0.456) / 0.224)
    grey = transform(ResNetConfig("resnet"), "frames", raw[:, :, :1])
    torch.testing.assert_close(grey, torch.full((2, 4, 1, 2, 2), 0.2))
    torch.testing.assert_close(transform(I3dConfig("i3d"), "clip", raw[:, :, :1]), torch.full((2, 4, 1, 2, 2), -0.6))


def test_flow_is_cut_and_scaled_for_i3d_and_kept_for_others():
    raw = torch.tensor([-50, -10, 0, 5, 20, 30], dtype=torch.float16).reshape(1, 3, 2, 1, 1)
    scaled = transform(I3dConfig("i3d"), "flow", raw)
    assert scaled.dtype == torch.float32
    assert scaled.flatten().tolist() == [-1, -0.5, 0, 0.25, 1, 1]
    assert transform(ResNetConfig("resnet"), "flow", raw).flatten().tolist() == [-50, -10, 0, 5, 20, 30]


def test_token_ids_stay_whole_numbers_and_those_beyond_the_vocabulary_are_reported():
    raw = torch.tensor([[5, 9, 0]], dtype=torch.int32)
    tokens = transform(BertConfig("bert", vocabulary=10), "text", raw)
    assert tokens.dtype == torch.int64
    assert tokens.tolist() == [[5, 9, 0]]
    assert transform(BertConfig("bert"), "text", raw[:0]).shape == (0, 3)
    stored = Modality("text", (3,), "int32", largest=9)
    build_transform(BertConfig("bert", vocabulary=10), stored, "thing")
    with pytest.raises(BssError, match=r"network\.encoders\.thing\.vocabulary is 9, but `thing` has the token id 9"):
        build_transform(BertConfig("bert", vocabulary=9), stored, "thing")
