"""Facts of inputs, by hand."""

import numpy as np
import pytest

from bss.audit.facts import (
    contrast,
    correlation,
    count_tokens,
    emptiness,
    facts_of,
    flatness,
    flatness_deviation,
    level_dbfs,
    noise,
    pairs_of,
    spread,
    whiteness,
)
from bss.data.sounds import Sounds
from bss.data.store import Modality


def test_levels():
    assert level_dbfs(np.ones(10)) == 0
    assert level_dbfs(np.array([0.1, -0.1])) == pytest.approx(-20)
    sine = np.sin(2 * np.pi * np.arange(1000) / 10)
    assert level_dbfs(sine) == pytest.approx(-3.0103, abs=1e-3)  # mean square 1/2
    assert level_dbfs(np.zeros(10)) == -120


def test_white_noise_is_flat_and_a_tone_is_not():
    random = np.random.default_rng(0)
    flat = [flatness(random.normal(0, 0.1, samples)) for samples in (600, 4_800, 48_000)]
    assert flat == pytest.approx([1, 1, 1], abs=0.06)
    assert flatness(np.sin(2 * np.pi * np.arange(4_800) / 16)) < 1e-3
    assert flatness(np.zeros(4_800)) == 1
    assert flatness(np.ones(3)) == 1


def test_flatness_of_a_spectrum_with_two_levels():
    # White noise through a half-band brick wall 20 dB down: geometric mean 10^-0.5 x, arithmetic (1 + .1) / 2 x in
    # amplitude-squared terms of 10 dB; here the upper half of the band has a tenth of the power.
    random = np.random.default_rng(0)
    spectrum = np.fft.rfft(random.normal(0, 1, 1 << 18))
    spectrum[len(spectrum) // 2 :] *= 10**-0.5
    sound = np.fft.irfft(spectrum)
    assert flatness(sound) == pytest.approx(np.sqrt(0.1) / 0.55, rel=0.02)


@pytest.mark.slow
def test_how_much_the_flatness_of_white_noise_varies():
    # 256 samples are one window with 127 frequencies: trigamma(1) = pi^2 / 6, and correlations 4/9 and 1/36.
    one = (np.pi**2 / 6 - 1) * (1 + 2 * (16 / 81 + 1 / 1296)) / 127
    assert flatness_deviation(256) == pytest.approx(np.sqrt(one))
    # 384 samples are two windows, with correlation 1/36: as many as 2 / (1 + 1/36) = 72/37 independent ones.
    # trigamma(x) is the sum of 1 / (x + i)^2, whose rest after n terms is 1 / (x + n).
    x, terms = 72 / 37, np.arange(100_000)
    trigamma = np.sum(1 / (x + terms) ** 2) + 1 / (x + len(terms))
    assert flatness_deviation(384) == pytest.approx(np.sqrt((trigamma - 1 / x) * 1.396605 / 127), rel=1e-5)
    random = np.random.default_rng(0)
    for samples in (2_400, 8_000):
        flat = [flatness(random.normal(0, 0.1, samples)) for _ in range(400)]
        assert np.std(flat) == pytest.approx(flatness_deviation(samples), rel=0.12)
        assert np.mean(flat) == pytest.approx(1, abs=0.25 * flatness_deviation(samples))


def test_whiteness_counts_deviations_from_drowned_sounds():
    deviation = flatness_deviation(4_800)
    assert whiteness(0.99, 4_800) == pytest.approx(0)
    assert whiteness(0.99 - 4 * deviation, 4_800) == pytest.approx(-4)
    probable = 1 / (1 + np.exp(-4))
    assert emptiness({"whiteness": np.array([-6, -4, -2])}) == pytest.approx([1 - probable, 0.5, probable])


@pytest.mark.parametrize("seconds", [0.3, 0.6, 5])
def test_a_tone_under_noise_of_20_db_more_is_white_and_under_as_much_noise_not(seconds):
    random = np.random.default_rng(0)
    samples = int(8_000 * seconds)
    tone = np.sqrt(2) * np.sin(2 * np.pi * np.arange(samples) / 16)  # a power of 1, on a few frequencies

    def empty(deviation):
        sounds = [(tone + random.normal(0, deviation, samples)).astype(np.float32) / 100 for _ in range(20)]
        stored = Sounds(np.concatenate(sounds), np.full(20, samples))
        facts = facts_of(Modality("audio", (samples,), "float32", 8000, "pad"), [stored])
        return emptiness({"whiteness": facts["whiteness"]})

    assert empty(10).min() > 0.95
    assert empty(1).max() < 1e-4


def test_contrast_and_spread():
    assert contrast(np.full((1, 4, 4), 7, dtype=np.uint8)) == 0
    assert contrast(np.array([0, 255], dtype=np.uint8)) == pytest.approx(0.5)
    assert spread(np.array([1, 3], dtype=np.float32)) == 1


def test_pixels_of_white_noise_are_uncorrelated_and_those_of_pictures_are_not():
    stripes = np.array([[[0, 255, 0, 255]] * 4], dtype=np.uint8)
    # Centred -1 and 1: 12 pairs across are -1 each, 12 pairs down 1 each.
    assert correlation(stripes) == 0
    halves = np.array([[[0, 0, 255, 255]] * 4], dtype=np.uint8)
    # Per row two pairs are 1 and one is -1: 4 in all across; 12 down.
    assert correlation(halves) == pytest.approx(16 / np.sqrt(24))
    checkers = np.array([[[0, 255], [255, 0]]], dtype=np.uint8)
    assert correlation(checkers) == pytest.approx(4 / np.sqrt(4))  # as far from 0 as neighbours that are equal
    assert correlation(np.repeat(halves, 3, axis=0)) == correlation(halves)  # grey as three equal channels
    clip = np.stack([halves, halves])
    assert correlation(clip) == pytest.approx(32 / np.sqrt(48))
    assert correlation(np.full((1, 4, 4), 7, dtype=np.uint8)) == correlation(np.array([[[9]]], dtype=np.uint8)) == 0
    random = np.random.default_rng(0)
    drawn = [correlation(random.integers(0, 256, (3, 28, 28), dtype=np.uint8)) for _ in range(400)]
    assert np.mean(np.square(drawn)) == pytest.approx(1, abs=0.15)  # in units of its own deviation


def test_how_much_likelier_a_correlation_is_for_noise():
    assert pairs_of((3, 2, 3)) == 7  # 2 in each of two rows, and 3 down
    assert pairs_of((4, 1, 2, 3)) == 28
    # Of 10,000 pairs a correlation of 0.03 is 3 deviations, the first of which the remnant explains. Its absolute value
    # has a density of 2 * sqrt(10,000) * exp(-2) / sqrt(2 pi) for noise, and of 2 * 0.03 for pictures.
    expected = 2 * 100 * np.exp(-2) / np.sqrt(2 * np.pi) / (2 * 0.03)
    assert noise(3, 10_000) == pytest.approx(np.log(expected))
    assert noise(0, 10_000) == noise(1, 10_000) == pytest.approx(np.log(10_000 / np.sqrt(2 * np.pi)))
    one = facts_of(Modality("image", (3, 1, 1), "uint8"), [np.zeros((2, 3, 1, 1), dtype=np.uint8)])
    assert list(one) == ["contrast", "correlation"]  # a single pixel has no neighbours


@pytest.mark.parametrize(("size", "even", "found"), [(8, 2.5, 0.97), (16, 3.1, 0.99), (28, 3.6, 0.99), (128, 5.7, 1)])
def test_noise_of_any_size_is_found_and_smooth_pictures_are_not_called_noise(size, even, found):
    random = np.random.default_rng(size)
    pairs = 2 * size * (size - 1)
    assert noise(even - 0.1, pairs) > 0 > noise(even + 0.1, pairs)  # correlations from 0.24 down to 0.03

    def empty(pictures):
        stored = np.stack([np.rint(255 * (p - p.min()) / np.ptp(p)) for p in pictures]).astype(np.uint8)
        facts = facts_of(Modality("image", (1, size, size), "uint8"), [stored])
        return emptiness(facts)

    whites = random.standard_normal((200, 1, size, size))
    others = random.standard_normal((200, 1, size, size))
    across = others + np.roll(others, 1, -1)
    smooth = across + np.roll(across, 1, -2)  # sums of four: neighbours share two, a correlation of 1/2
    assert (empty(whites) > 0.5).mean() >= found
    assert (empty(whites + smooth / smooth.std() / 10) > 0.5).mean() >= found  # 20 dB above what it drowns
    assert (empty(smooth) > 0.5).mean() <= 0.02


def test_tokens_without_the_marks_that_all_texts_have():
    # [CLS] a b [SEP], [CLS] [SEP], [CLS] c [SEP]
    first, last, lengths = np.array([1, 1, 1]), np.array([2, 2, 2]), np.array([4, 2, 3])
    assert count_tokens(first, last, lengths).tolist() == [2, 0, 1]
    # Without marks every text keeps its tokens.
    assert count_tokens(np.array([5, 6]), np.array([7, 8]), np.array([3, 2])).tolist() == [3, 2]


def test_facts_by_kind_and_in_blocks():
    sounds = Sounds(np.array([0.1, -0.1, 0, 0, 0], dtype=np.float32), np.array([2, 3]))
    facts = facts_of(Modality("audio", (3,), "float32", 8000, "pad"), [sounds])
    assert facts["level_dbfs"].tolist() == pytest.approx([-20, -120])
    tokens = np.array([[1, 5, 2, 0], [1, 2, 0, 0], [1, 6, 7, 2]], dtype=np.int32)
    facts = facts_of(Modality("text", (4,), "int32"), [tokens[:1], tokens[1:]])
    assert facts["tokens"].tolist() == [1, 0, 2]
    pixels = np.zeros((2, 1, 2, 2), dtype=np.uint8)
    pixels[1, 0, 0] = 255
    assert facts_of(Modality("image", (1, 2, 2), "uint8"), [pixels])["contrast"].tolist() == [0, 0.5]
    vectors = np.array([[2, 2], [1, 3]], dtype=np.float32)
    assert facts_of(Modality("features", (2,), "float32"), [vectors])["spread"].tolist() == [0, 1]


def test_what_is_empty():
    silence, speech, noise = emptiness({"level_dbfs": np.array([-120, -20, -3]), "whiteness": np.array([4, -400, 0])})
    assert silence > 0.98
    assert speech < 1e-5
    assert noise > 0.95
    for fact, half in (("contrast", 0.01), ("spread", 1e-6), ("tokens", 0.5)):
        assert emptiness({fact: np.array([0, half])}) == pytest.approx([1 / (1 + np.exp(-10)), 0.5])
    drowned, drawn = emptiness({"contrast": np.array([0.3, 0.3]), "noise": np.array([6, -90])})
    assert drowned > 0.99
    assert drawn < 1e-5
    black, picture = emptiness({"contrast": np.array([0, 0.2])})
    assert black > 0.98
    assert picture < 1e-5
    none, one = emptiness({"tokens": np.array([0, 1])})
    assert none > 0.98
    assert one < 0.02
    constant, vector = emptiness({"spread": np.array([0, 0.1])})
    assert constant > 0.98
    assert vector < 1e-5
