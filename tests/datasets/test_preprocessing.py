"""What enters the network equals the published preprocessing, computed with librosa and Pillow."""

import librosa
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from small_training import small_tree

from bss.config import config_from_tree
from bss.data.store import Store
from bss.models.network import build_network, describe_network
from bss.stages.prepare import prepare
from bss.training.samples.split_data import SplitData

SECONDS = 20
CLIPS = {"1001_IEO_NEU_XX": (16000, 2.3), "1002_IEO_HAP_XX": (22050, 1.0), "1003_IEO_SAD_XX": (44100, 21.5)}
"""Clip to its sample rate and length in seconds: resampled and repeated, repeated, resampled and cut."""


@pytest.fixture(scope="module")
def crema(tmp_path_factory):
    """Root with three clips and, as the network gets them in evaluation, their inputs by modality."""
    folder = tmp_path_factory.mktemp("equal")
    root = folder / "CREMA-D"
    (root / "annotations").mkdir(parents=True)
    (root / "AudioWAV").mkdir()
    random = np.random.default_rng(0)
    for clip, (rate, seconds) in CLIPS.items():
        time = np.arange(round(rate * seconds)) / rate
        sound = 0.5 * np.sin(2 * np.pi * 440 * time) * np.exp(-time) + 0.05 * random.standard_normal(len(time))
        stereo = np.stack([sound, 0.5 * sound], axis=1)
        soundfile.write(root / "AudioWAV" / f"{clip}.wav", stereo, rate, subtype="PCM_16")
        (root / "Image-01-FPS" / clip).mkdir(parents=True)
        picture = Image.fromarray(random.integers(0, 255, (36, 48, 3), dtype=np.uint8)).resize((480, 360))
        picture.save(root / "Image-01-FPS" / clip / "00000.jpg")
    rows = [f"{clip},{clip[9:12]}\n" for clip in CLIPS]
    (root / "annotations" / "train.csv").write_text("".join(rows))
    (root / "annotations" / "test.csv").write_text("".join(rows).replace("_XX", "_LO"))
    for clip in CLIPS:  # test repeats the three clips under another name
        other = clip.replace("_XX", "_LO")
        (root / "AudioWAV" / f"{other}.wav").hardlink_to(root / "AudioWAV" / f"{clip}.wav")
        (root / "Image-01-FPS" / other).mkdir()
        (root / "Image-01-FPS" / other / "0.jpg").hardlink_to(root / "Image-01-FPS" / clip / "00000.jpg")
    encoders = {"audio": {"width": 2}, "video": {"width": 2}}
    config = config_from_tree(small_tree("crema-d", root, {}, encoders, "published"), "params.yaml")
    prepare(config, root, folder / "store")
    store = Store.open(folder / "store")
    network = build_network(describe_network(config.network, store)).eval()
    data = SplitData(store, "test", network, torch.device("cpu"))
    ((inputs, _),) = data.batches([np.arange(3)])
    return root, {name: x.numpy() for name, x in inputs.items()}


@pytest.mark.process
@pytest.mark.slow
def test_the_spectrogram_equals_librosas(crema):
    root, inputs = crema
    assert inputs["audio"].shape == (3, 1, 257, 1250)
    for clip, found in zip(CLIPS, inputs["audio"], strict=True):
        sound, _ = librosa.load(root / "AudioWAV" / f"{clip}.wav", sr=22050)
        whole = np.tile(sound, SECONDS)[: SECONDS * 22050] if len(sound) < SECONDS * 22050 else sound[: SECONDS * 22050]
        magnitude = np.abs(librosa.stft(np.clip(whole, -1, 1), n_fft=512, hop_length=353))
        np.testing.assert_allclose(np.exp(found[0]) - 1e-7, magnitude, rtol=1e-4, atol=2e-4)
        loud = magnitude > 0.01
        np.testing.assert_allclose(found[0][loud], np.log(magnitude[loud] + 1e-7), atol=1e-2)


def test_the_frame_in_evaluation_equals_pillows_resize_and_imagenets_normalisation(crema):
    root, inputs = crema
    assert inputs["video"].shape == (3, 1, 3, 224, 224)
    for clip, found in zip(CLIPS, inputs["video"], strict=True):
        with Image.open(root / "Image-01-FPS" / clip / "00000.jpg") as picture:
            pixels = np.asarray(picture.resize((224, 224), Image.Resampling.BILINEAR), dtype=np.float32) / 255
        expected = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        step = 1 / 255 / 0.224  # Pillow rounds to whole levels, between its two passes and behind them
        np.testing.assert_allclose(found[0], expected.transpose(2, 0, 1), atol=1.1 * step)
        assert np.abs(found[0] - expected.transpose(2, 0, 1)).mean() < 0.5 * step
