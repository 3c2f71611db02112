"""The built-in data: handwritten digits paired with spoken-digit-like sounds, written as real files.

The images are the 1,797 handwritten digits (8 x 8) that come with scikit-learn; the sounds are
synthesised. Each file depends only on the seed and its own number, so the same parameters give the
same bytes in any writing order.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bss.balance.ranking import rank_stratified
from bss.config.schema import DigitsConfig
from bss.data.builtin.digit_sounds import SAMPLE_RATE, Signal, Speaker, make_speaker, speak
from bss.files import write_csv

SPEAKERS = {"train": 6, "val": 2, "test": 3}
"""Speakers per split; none is heard in two splits."""
SHARES = {"train": 1000, "val": 450, "test": 347}
"""Pairs per split; val is large because its faults make the choice of a checkpoint noisy."""
SOUND_NOISE = 0.18
"""RMS of the white noise added to every sound (which has RMS 0.1), at no advantage."""
IMAGE_NOISE = 0.25
"""Deviation of the noise on every pixel in [0, 1], at no advantage."""
DROWNED = 6.0
"""How much more noise a drowned modality has."""


@dataclass(frozen=True)
class Pair:
    """The contents of one pair."""

    number: int
    split: str
    label: int
    speaker: Speaker
    image: npt.NDArray[np.float64]
    """Pixels [8, 8] in [0, 1]."""
    spoken: int
    """The spoken digit."""
    kind: str
    """clean, contradicting or noisy."""
    modality: str
    """The altered modality; empty for a clean pair."""
    other_label: str
    """The class that the altered modality shows; empty unless contradicting."""

    @property
    def id(self) -> str:
        """Four digits."""
        return f"{self.number:04d}"


def write_digits(config: DigitsConfig, folder: Path) -> dict[str, int]:
    """Write manifest.csv, truth.csv, wav/ and png/ into `folder`; return the number of pairs per kind."""
    import soundfile
    from PIL import Image

    (folder / "wav").mkdir(parents=True)
    (folder / "png").mkdir()
    pairs = plan_pairs(config)
    for pair in pairs:
        sound, image = render(pair, config)
        wav = io.BytesIO()  # soundfile would sync each file that it writes itself
        soundfile.write(wav, sound, SAMPLE_RATE, format="WAV", subtype="PCM_16")
        (folder / f"wav/{pair.id}.wav").write_bytes(wav.getvalue())
        Image.fromarray(image, mode="L").save(folder / f"png/{pair.id}.png")
    manifest = [
        {
            "id": pair.id,
            "label": str(pair.label),
            "split": pair.split,
            "group": pair.speaker.name,
            "audio": f"wav/{pair.id}.wav",
            "image": f"png/{pair.id}.png",
        }
        for pair in pairs
    ]
    truth = [
        {"id": pair.id, "kind": pair.kind, "modality": pair.modality, "other_label": pair.other_label} for pair in pairs
    ]
    write_csv(folder / "manifest.csv", manifest)
    write_csv(folder / "truth.csv", truth)
    kinds = [pair.kind for pair in pairs]
    return {kind: kinds.count(kind) for kind in ("clean", "contradicting", "noisy")}


def plan_pairs(config: DigitsConfig) -> list[Pair]:
    """Decide splits, speakers, pairs and faults; the pairs are numbered split by split, mixed inside."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8) / 16
    random = np.random.default_rng([config.seed, 0])
    order = rank_stratified(random.random(len(labels)), labels, random)  # any run of it has the classes in proportion
    pairs: list[Pair] = []
    start = 0
    for split, count in SHARES.items():
        speakers = [make_speaker(f"{split}-{i}", random) for i in range(SPEAKERS[split])]
        rows = order[start : start + count]
        start += count
        faults = _draw_faults(config, split, count, random)
        for row, fault in zip(rows, faults, strict=True):
            label = int(labels[row])
            speaker = speakers[random.integers(len(speakers))]
            modality = "" if fault == "clean" else ("audio", "image")[random.integers(2)]
            image, spoken, other = images[row], label, ""
            if fault == "contradicting":
                candidates = rows[labels[rows] != label]
                other_row = int(candidates[random.integers(len(candidates))])
                other = str(labels[other_row])
                if modality == "image":
                    image = images[other_row]
                else:
                    spoken = int(labels[other_row])
            pairs.append(Pair(len(pairs), split, label, speaker, image, spoken, fault, modality, other))
    return pairs


def render(pair: Pair, config: DigitsConfig) -> tuple[Signal, npt.NDArray[np.uint8]]:
    """Return the sound (float64 [4800] in [-1, 1]) and the image (uint8 [8, 8]) of a pair, with its noise."""
    random = np.random.default_rng([config.seed, 1, pair.number])
    drowned = pair.modality if pair.kind == "noisy" else ""
    sound_noise = SOUND_NOISE * 4**-config.audio_advantage * (DROWNED if drowned == "audio" else 1)
    image_noise = IMAGE_NOISE * 2**config.audio_advantage * (DROWNED if drowned == "image" else 1)
    sound = speak(pair.spoken, pair.speaker, random)
    sound = sound + sound_noise * random.standard_normal(len(sound))
    image = pair.image + image_noise * random.standard_normal(pair.image.shape)
    return np.clip(sound, -1, 1), np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)


def _draw_faults(config: DigitsConfig, split: str, count: int, random: np.random.Generator) -> list[str]:
    """Return the kind of each pair, in random order and exact shares; test pairs are all clean."""
    contradicting = 0 if split == "test" else round(config.contradicting * count)
    noisy = 0 if split == "test" else min(count - contradicting, round(config.noisy * count))
    kinds = ["contradicting"] * contradicting + ["noisy"] * noisy
    kinds += ["clean"] * (count - len(kinds))
    return [kinds[i] for i in random.permutation(count)]
