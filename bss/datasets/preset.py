"""What the presets of the paper's datasets have in common."""

from typing import Any

from bss.datasets.dataset import Tree

HONEST_SEEDS = [0, 1, 2, 3, 4, 5]
"""Fewer than six cannot show a difference: the sign-flip test could not fall to 0.05."""


def paper_preset(
    modalities: Tree,
    encoders: Tree,
    *,
    optimiser: Tree,
    batch_size: int,
    epochs: int,
    decay_at: list[int],
    loss_weights: Tree | None = None,
    prediction: str = "all-heads",
) -> Tree:
    """Return the parameters of one of the paper's trainings, but for what the protocol decides."""
    return {
        "prepare": {"modalities": modalities},
        "network": {
            "encoders": encoders,
            "fusion": {"kind": "concatenation"},
            "loss_weights": loss_weights or {"fused": 1.0, "unimodal": 1.0},
            "prediction": prediction,
        },
        "train": {
            "epochs": epochs,
            "batch_size": batch_size,
            "optimiser": optimiser,
            "decay": {"at": decay_at, "factor": 0.1},
        },
    }


def sound_and_frames(
    *, sample_rate: int, seconds: float, frames: int, height: int, width: int, crop: int
) -> dict[str, Tree]:
    """Return modalities and encoders of the paper's audio-visual datasets: two ResNet-18 from scratch.

    Sound is repeated or cut to `seconds`; `frames` of those shown at each full second are stored with `height`
    and `width`, and enter the network as squares of `crop` pixels.
    """
    resnet = {"kind": "resnet", "depth": 18, "weights": None}
    frame = {"kind": "frames", "count": frames, "rate": 1.0, "height": height, "width": width, "channels": 3}
    return {
        "modalities": {
            "audio": {
                "kind": "audio",
                "sample_rate": sample_rate,
                "seconds": seconds,
                "short": "tile",
                "long": "start",
            },
            "video": frame,
        },
        "encoders": {
            "audio": resnet | {"spectrogram": {"n_fft": 512, "hop": 353, "bands": None}},
            "video": resnet | {"normalisation": "imagenet", "crop": random_resized_crop(crop)},
        },
    }


def random_resized_crop(size: int) -> Tree:
    """Return the published augmentation of images: random resized crop and flip, and the whole in evaluation."""
    return {"height": size, "width": size, "train": "random-resized", "flip": True, "evaluation": "whole"}


def with_protocol(preset: Tree, protocol: str) -> Tree:
    """Return `preset` with seeds, measuring, schedulers and comparison of the protocol honest or published.

    A preset that has such a section itself keeps its own.
    """
    grow_epochs = max(1, preset["train"]["epochs"] // 3)
    return (_published(grow_epochs) if protocol == "published" else _honest(grow_epochs)) | preset


def _honest(grow_epochs: int) -> dict[str, Any]:
    """Return schedulers with scores after a warm-up, and the controls that tell an effect from luck."""
    curriculum = {"kind": "heuristic", "stratified": True, "pacing": _pacing(grow_epochs)}
    return {
        "seeds": HONEST_SEEDS,
        "measure": {"warmup_epochs": 3},
        "schedule": {
            "schedulers": {
                "uniform": {"kind": "uniform"},
                "random-ranking": curriculum | {"ranking": "random"},
                "bss-h": curriculum,
                "bss-h-trimmed": curriculum | {"trim": 0.35},
                "bss-l": {"kind": "learned", "measuring": "full"},
                "bss-l-online": {"kind": "learned", "measuring": "online"},
            }
        },
        "compare": {"baseline": "uniform", "control": "random-ranking"},
    }


def _published(grow_epochs: int) -> dict[str, Any]:
    """Return the paper's formulas and the authors' scripts, with scores of the freshly initialised network."""
    return {
        "seeds": [0],
        "measure": {"warmup_epochs": 0},
        "schedule": {
            "schedulers": {
                "uniform": {"kind": "uniform"},
                "bss-h": {"kind": "heuristic", "scores": "initial", "pacing": _pacing(grow_epochs)},
                "bss-l": {"kind": "learned", "scores": "initial", "beta": 0.6, "measuring": "full"},
                "official-h": {"preset": "official-heuristic", "pacing": {"grow_epochs": grow_epochs}},
                "official-l": {"preset": "official-learned"},
            }
        },
        "compare": {"baseline": "uniform", "control": None},
    }


def _pacing(grow_epochs: int) -> dict[str, Any]:
    return {"shape": "root", "start": 0.1, "grow_epochs": grow_epochs}
