import csv
from collections import Counter

import numpy as np
import pytest
from sklearn.datasets import load_digits

from bss.config.schema import DigitsConfig
from bss.data.builtin import digits
from bss.data.builtin.digit_sounds import SAMPLE_RATE, make_speaker, speak
from bss.data.builtin.digits import SHARES, plan_pairs, render

CONFIG = DigitsConfig(seed=3, contradicting=0.3, noisy=0.2)


@pytest.fixture(scope="module")
def pairs():
    return plan_pairs(CONFIG)


def test_shares_of_faults_are_exact_and_test_is_clean(pairs):
    for split, count in SHARES.items():
        kinds = Counter(p.kind for p in pairs if p.split == split)
        if split == "test":
            assert kinds == {"clean": count}
        else:
            assert kinds == {
                "clean": count - round(0.3 * count) - round(0.2 * count),
                "contradicting": round(0.3 * count),
                "noisy": round(0.2 * count),
            }


def test_a_contradiction_shows_another_class_in_one_modality_and_the_truth_says_which(pairs):
    images, labels = load_digits(return_X_y=True)
    class_of = {image.tobytes(): int(label) for image, label in zip(images / 16, labels, strict=True)}
    for pair in pairs:
        seen, heard = class_of[pair.image.reshape(-1).tobytes()], pair.spoken
        if pair.kind == "contradicting":
            other, own = (seen, heard) if pair.modality == "image" else (heard, seen)
            assert own == pair.label != other == int(pair.other_label)
        else:
            assert seen == heard == pair.label


def test_no_speaker_and_no_drawing_is_in_two_splits(pairs):
    speakers, drawings = {}, {}
    for pair in pairs:
        speakers.setdefault(pair.speaker.name, set()).add(pair.split)
        drawings.setdefault(pair.image.tobytes(), set()).add(pair.split)
    assert all(len(splits) == 1 for splits in speakers.values())
    assert sum(len(splits) > 1 for splits in drawings.values()) == 0


def test_a_drowned_modality_is_noisier_and_the_other_is_not(pairs):
    noisy = next(p for p in pairs if p.kind == "noisy" and p.modality == "audio")
    clean = type(noisy)(**{**vars(noisy), "kind": "clean", "modality": ""})
    (drowned, image), (sound, same_image) = render(noisy, CONFIG), render(clean, CONFIG)
    assert np.std(drowned) > 2 * np.std(sound)
    np.testing.assert_array_equal(image, same_image)


def test_the_advantage_moves_noise_from_one_modality_to_the_other(pairs):
    easy, hard = (DigitsConfig(seed=3, audio_advantage=a) for a in (0.8, -0.8))
    (sound_easy, image_hard), (sound_hard, image_easy) = render(pairs[0], easy), render(pairs[0], hard)
    assert np.std(sound_hard) > np.std(sound_easy)
    clean = 255 * pairs[0].image
    assert np.abs(image_hard - clean).mean() > np.abs(image_easy - clean).mean()


def test_sounds_of_one_digit_differ_and_none_is_silent_or_clipped():
    random = np.random.default_rng(0)
    speaker = make_speaker("a", random)
    for digit in range(10):
        first, second = speak(digit, speaker, random), speak(digit, speaker, random)
        assert first.shape == (round(0.6 * SAMPLE_RATE),)
        assert np.sqrt(np.mean(first**2)) == pytest.approx(0.1)
        assert np.abs(first).max() < 1
        assert not np.allclose(first, second)


def test_the_seed_decides_everything(pairs):
    again = plan_pairs(CONFIG)
    for a, b in zip(pairs[::97], again[::97], strict=True):
        for x, y in zip(render(a, CONFIG), render(b, CONFIG), strict=True):
            np.testing.assert_array_equal(x, y)
    other = plan_pairs(DigitsConfig(seed=4, contradicting=0.3, noisy=0.2))
    assert [p.label for p in other] != [p.label for p in pairs]


def read_rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_generate_writes_a_manifest_and_real_files(tmp_path, tree, make_config, monkeypatch):
    from bss.stages.generate import generate

    shares = {"train": 40, "val": 10, "test": 20}
    monkeypatch.setattr(digits, "SHARES", shares)
    tree["generate"] = {"digits": {"contradicting": 0.5}}
    generate(make_config(tree), "digits", tmp_path / "digits")
    manifest, truth = (read_rows(tmp_path / "digits" / name) for name in ("manifest.csv", "truth.csv"))
    assert [row["id"] for row in manifest] == [row["id"] for row in truth]
    assert Counter(row["split"] for row in manifest) == shares
    for row in manifest:
        assert (tmp_path / "digits" / row["audio"]).read_bytes()[:4] == b"RIFF"
        assert (tmp_path / "digits" / row["image"]).read_bytes()[1:4] == b"PNG"


def test_data_that_params_do_not_ask_for_cannot_be_generated(tmp_path, tree, make_config):
    from bss.errors import BssError
    from bss.stages.generate import generate

    with pytest.raises(BssError, match=r"no section generate\.digits"):
        generate(make_config(tree), "digits", tmp_path / "digits")
