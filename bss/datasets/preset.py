"""What the presets of the paper's datasets have in common."""

from collections.abc import Iterable
from typing import Any

from bss.datasets.dataset import Tree

HONEST_SEEDS = [0, 1, 2, 3, 4, 5]
"""Fewer than six cannot show a difference: the sign-flip test could not fall to 0.05."""
RUN: Tree = {"frames": 80, "short": "pad", "long": "centre", "height": 256, "width": 256}
"""What is stored of a clip and its flow; one size, so that augmentation is the same for all of a sample."""


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
) -> tuple[Tree, Tree]:
    """Return modalities and encoders of the paper's audio-visual datasets: two ResNet-18 from scratch.

    Sound is repeated or cut to `seconds`; `frames` of those shown at each full second are stored with `height`
    and `width`, and enter the network as squares of `crop` pixels.
    """
    resnet = {"kind": "resnet", "depth": 18, "weights": None}
    frame = {"kind": "frames", "count": frames, "rate": 1.0, "height": height, "width": width, "channels": 3}
    modalities = {
        "audio": {"kind": "audio", "sample_rate": sample_rate, "seconds": seconds, "short": "tile", "long": "start"},
        "video": frame,
    }
    encoders = {
        "audio": resnet | {"spectrogram": {"n_fft": 512, "hop": 353, "bands": None}},
        "video": resnet | {"normalisation": "imagenet", "crop": random_resized_crop(crop)},
    }
    return modalities, encoders


def text_and_image() -> tuple[Tree, Tree]:
    """Return modalities and encoders of text and image: BERT-base and ResNet-50, both pretrained.

    30 tokens of a text besides its two marks; images are stored with 256 x 256 pixels and cropped to 224 x 224.
    """
    bert = "google-bert/bert-base-uncased"
    modalities = {
        "text": {"kind": "text", "tokenizer": bert, "tokens": 32, "lower_case": True, "remove_punctuation": True},
        "image": {"kind": "image", "height": 256, "width": 256, "channels": 3},
    }
    resnet = {"kind": "resnet", "depth": 50, "weights": "microsoft/resnet-50", "normalisation": "imagenet"}
    encoders = {
        "text": {"kind": "bert", "weights": bert},
        "image": resnet | {"crop": random_resized_crop(224)},
    }
    return modalities, encoders


def extracted_features(names: Iterable[str]) -> tuple[Tree, Tree]:
    """Return modalities and encoders of features that were extracted before: a multi-layer perceptron on each."""
    names = tuple(names)
    modalities = {name: {"kind": "features"} for name in names}
    return modalities, {name: {"kind": "mlp", "hidden": [256], "features": 64} for name in names}


def sgd(learning_rate: float) -> Tree:
    """Return SGD with the momentum and weight decay of CREMA-D's scripts; those of the others tell the rate alone."""
    return {"kind": "sgd", "learning_rate": learning_rate, "momentum": 0.9, "weight_decay": 0.0001}


CREMA_D_TRAINING: Tree = {"optimiser": sgd(0.01), "batch_size": 64, "epochs": 120, "decay_at": [70]}
"""Also of what the paper has not and is trained from scratch."""
FINE_TUNING: Tree = {
    "optimiser": {"kind": "adam", "learning_rate": 0.00001},
    "batch_size": 32,
    "epochs": 120,
    "decay_at": [],
}
"""Of text and image: the optimiser is published, batch and epochs are as in the paper's other trainings."""


def video_clip(channels: int) -> Tree:
    """Return a modality of 80 consecutive frames, 256 x 256 pixels."""
    return {"kind": "clip", "channels": channels} | RUN


def optical_flow() -> Tree:
    """Return a modality of the flow in a `video_clip`, computed where it is not in .npy files."""
    return {"kind": "flow", "compute": True} | RUN


def with_i3d(modalities: Tree, *, flip: bool) -> tuple[Tree, Tree]:
    """Return `modalities` and an I3D from scratch for each, which sees 64 consecutive frames of 224 x 224 pixels."""
    crop = {"height": 224, "width": 224, "train": "random", "flip": flip, "evaluation": "centre", "frames": 64}
    return modalities, {name: {"kind": "i3d", "crop": crop} for name in modalities}


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
