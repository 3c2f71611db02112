"""Duplicates: exact ones by hand, near ones against the brute-force definition, and changes that keep a descriptor."""

import numpy as np
import pytest

from bss.audit import duplicates
from bss.audit.duplicates import describe, find_duplicates, nearest
from bss.data.sounds import Sounds
from bss.data.store import Modality

IMAGE = Modality("image", (1, 8, 8), "uint8")
AUDIO = Modality("audio", (4_000,), "float32", 8_000, "pad")
VECTOR = Modality("features", (3,), "float32")


def pictures(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 1, 8, 8)).astype(np.uint8)


def tones(count):
    random = np.random.default_rng(0)
    time = np.arange(4_000) / 8_000
    start, bend = random.uniform(200, 3_000, (count, 1)), random.uniform(0, 1, (count, 1))
    return 0.3 * np.sin(2 * np.pi * start * time * (1 + bend * time)).astype(np.float32)


def as_sounds(waves):
    return Sounds(np.concatenate(waves), np.array([len(wave) for wave in waves]))


def find(arrays, modalities, places, near):
    return find_duplicates(lambda name: [arrays[name]], modalities, places, near)


def test_exact_copies_of_all_modalities_and_no_others():
    image, vector = pictures(6), np.arange(18, dtype=np.float32).reshape(6, 3)
    image[4], vector[4] = image[1], vector[1]  # a copy of 1
    image[5] = image[0]  # the picture alone
    places = [("train", None)] * 6
    found = find({"image": image, "vector": vector}, {"image": IMAGE, "vector": VECTOR}, places, 1)
    assert found.partner.tolist() == [-1, 4, -1, -1, 1, -1]
    assert found.exact.tolist() == [False, True, False, False, True, False]
    assert found.similarity[1] == 1
    assert np.isnan(found.similarity[0])


def test_a_copy_in_another_split_or_group_is_preferred():
    image = np.repeat(pictures(1), 4, axis=0)
    places = [("train", "a"), ("train", "a"), ("train", "b"), ("test", "c")]
    assert find({"image": image}, {"image": IMAGE}, places, 1).partner.tolist() == [2, 2, 0, 0]
    places = [("train", "a"), ("train", "a"), ("train", "a"), ("test", "c")]
    assert find({"image": image}, {"image": IMAGE}, places, 1).partner.tolist() == [3, 3, 3, 0]


def test_sounds_of_other_lengths_are_no_copies():
    zeros = as_sounds([np.zeros(10, dtype=np.float32), np.zeros(11, dtype=np.float32)])
    found = find({"audio": zeros}, {"audio": AUDIO}, [("train", None)] * 2, 0.98)
    assert found.partner.tolist() == [-1, -1]  # silence is nobody's near-duplicate


@pytest.mark.parametrize("tile", [3, 7, 64])
def test_nearest_against_the_definition(tile, monkeypatch):
    monkeypatch.setattr(duplicates, "TILE", tile)
    random = np.random.default_rng(1)
    first, second = (random.normal(size=(20, 4)).astype(np.float32) for _ in range(2))
    first, second = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (first, second))
    place = random.integers(0, 2, 20)
    near = 0.2
    similarity = np.minimum(first @ first.T, second @ second.T)
    expected = []
    for i in range(20):
        candidates = [j for j in range(20) if j != i and similarity[i, j] >= near]
        expected.append(max(candidates, key=lambda j: (place[j] != place[i], similarity[i, j]), default=-1))
    partner, found = nearest([first, second], place, near)
    assert partner.tolist() == expected
    for i, j in enumerate(expected):
        assert np.isnan(found[i]) if j < 0 else found[i] == pytest.approx(similarity[i, j], abs=1e-5)


def test_gain_noise_and_coarse_steps_leave_a_near_duplicate_and_other_samples_are_none():
    random = np.random.default_rng(0)
    wave, image = tones(30), pictures(30)
    changed = [wave[0] * 0.5, wave[1] + random.normal(0, 0.01, 4_000), np.round(wave[2] * 50) / 50]
    waves = [*wave, *(x.astype(np.float32) for x in changed)]
    brighter = np.clip(image[:3].astype(int) // 2 + 30, 0, 255).astype(np.uint8)
    places = [("train", None)] * 30 + [("val", None)] * 3
    arrays = {"audio": as_sounds(waves), "image": np.concatenate([image, brighter])}
    found = find(arrays, {"audio": AUDIO, "image": IMAGE}, places, 0.98)
    assert found.partner.tolist() == [30, 31, 32] + [-1] * 27 + [0, 1, 2]
    assert not found.exact.any()
    # The sound alone is copied: another picture makes another sample.
    arrays["image"] = pictures(33, seed=5)
    assert (find(arrays, {"audio": AUDIO, "image": IMAGE}, places, 0.98).partner == -1).all()


def test_descriptors_of_texts_count_tokens_in_any_order():
    texts = np.array([[5, 6, 7, 0], [7, 6, 5, 0], [8, 9, 10, 11]], dtype=np.int32)
    rows = describe(Modality("text", (4,), "int32"), [texts])
    assert rows[0] @ rows[1] == pytest.approx(1, abs=1e-5)
    assert rows[0] @ rows[2] < 0.5


def test_blocks_change_nothing():
    clips = np.random.default_rng(0).integers(0, 256, (9, 6, 3, 20, 24)).astype(np.uint8)
    modality = Modality("clip", (6, 3, 20, 24), "uint8")
    whole, parts = describe(modality, [clips]), describe(modality, [clips[:2], clips[2:]])
    assert whole.shape == (9, duplicates.DIMENSIONS)
    np.testing.assert_allclose(whole, parts, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)
