"""Common parts of the presets for the paper's datasets."""

from collections.abc import Iterable

from bss.config.load import merge
from bss.datasets.dataset import Tree

HONEST_SEEDS = [0, 1, 2, 3, 4, 5]
"""With fewer than six seeds, the sign-flip test cannot reach p = 0.05."""
RUN: Tree = {"frames": 80, "short": "pad", "long": "centre", "height": 256, "width": 256}
"""Stored form of a clip and its flow; one size, so that all modalities of a sample are augmented identically."""
GROW_EPOCHS = 40
"""T_grow of all the authors' scripts, for any number of epochs."""
FIRST_FRAME = "They take the first frames of a clip in the order of the file system, which is arbitrary."
"""A difference of the scripts for sound and frames."""
SCHEDULERS = {"bss-h": ("uniform", "bss-h", "official-h"), "bss-l": ("uniform", "bss-l", "official-l")}
"""Maps each method to the schedulers trained with its settings."""


def paper_preset(
    modalities: Tree,
    encoders: Tree,
    *,
    optimiser: Tree,
    batch_size: int = 32,
    epochs: int = 120,
    loss_weights: Tree | None = None,
    prediction: str = "all-heads",
    head_initialisation: str = "torch",
) -> Tree:
    """Return the parameters of one of the paper's trials, without those that depend on the protocol.

    Batch size and epochs are those of the authors' script for BSS-H; by default those of most of its scripts.
    """
    return {
        "prepare": {"modalities": modalities},
        "network": {
            "encoders": encoders,
            "fusion": {"kind": "concatenation"},
            "loss_weights": loss_weights or {"fused": 1.0, "unimodal": 1.0},
            "prediction": prediction,
            "head_initialisation": head_initialisation,
        },
        "train": {
            "epochs": epochs,
            "batch_size": batch_size,
            "optimiser": optimiser,
            "decay": {"at": [70], "factor": 0.1},
        },
    }


def sound_and_frames(
    *, sample_rate: int, seconds: float, frames: int, height: int, width: int, crop: int, per_frame: bool = False
) -> tuple[Tree, Tree]:
    """Return modalities and encoders of the paper's audio-visual datasets: two ResNet-18 from scratch.

    Sound is repeated or cut to `seconds`; `frames` of those shown at each full second are stored with `height`
    and `width`, and enter the network as squares of `crop` pixels; with `per_frame`, each is cropped independently.
    """
    resnet = {"kind": "resnet", "depth": 18, "weights": None}
    frame = {"kind": "frames", "count": frames, "rate": 1.0, "height": height, "width": width, "channels": 3}
    modalities = {
        "audio": {"kind": "audio", "sample_rate": sample_rate, "seconds": seconds, "short": "tile", "long": "start"},
        "video": frame,
    }
    encoders = {
        "audio": resnet | {"spectrogram": {"n_fft": 512, "hop": 353, "bands": None}},
        "video": resnet | {"normalisation": "imagenet", "crop": random_resized_crop(crop) | {"per_frame": per_frame}},
    }
    return modalities, encoders


def text_and_image(*, text: Tree, side: int, image: Tree) -> tuple[Tree, Tree]:
    """Return modalities and encoders of text and image: BERT-base and ResNet-50, both pretrained.

    `text` configures the text modality with its number of tokens; images are stored at `side` x `side` pixels, and
    `image` configures their encoder input.
    """
    bert = "google-bert/bert-base-uncased"
    modalities = {
        "text": {"kind": "text", "tokenizer": bert, "lower_case": True, "remove_punctuation": True} | text,
        "image": {"kind": "image", "height": side, "width": side, "channels": 3},
    }
    encoders = {
        "text": {"kind": "bert", "weights": bert},
        "image": {"kind": "resnet", "depth": 50, "weights": "microsoft/resnet-50"} | image,
    }
    return modalities, encoders


def extracted_features(names: Iterable[str]) -> tuple[Tree, Tree]:
    """Return modalities and encoders of pre-extracted features: a multi-layer perceptron on each."""
    names = tuple(names)
    modalities = {name: {"kind": "features"} for name in names}
    return modalities, {name: {"kind": "mlp", "hidden": [256], "features": 64} for name in names}


def sgd(learning_rate: float) -> Tree:
    """Return SGD with the momentum and weight decay of all the authors' scripts that use it."""
    return {"kind": "sgd", "learning_rate": learning_rate, "momentum": 0.9, "weight_decay": 0.0001}


CREMA_D_TRAINING: Tree = {"optimiser": sgd(0.01)}
"""Also used for datasets that are not in the paper and are trained from scratch."""
FINE_TUNING: Tree = {"optimiser": {"kind": "adam", "learning_rate": 0.00001, "weight_decay": 0.0001}}
"""Optimiser of Sarcasm."""


def video_clip(channels: int) -> Tree:
    """Return a modality of 80 consecutive frames, 256 x 256 pixels."""
    return {"kind": "clip", "channels": channels} | RUN


def optical_flow() -> Tree:
    """Return a modality of the flow in a `video_clip`, computed unless it is in .npy files."""
    return {"kind": "flow", "compute": True} | RUN


def i3d(*, flip: bool, frames: int | None = 64) -> Tree:
    """Return an I3D from scratch that sees `frames` consecutive frames (None: all) of 224 x 224 pixels."""
    crop = {"height": 224, "width": 224, "train": "random", "flip": flip, "evaluation": "centre", "frames": frames}
    return {"kind": "i3d", "crop": crop}


def random_resized_crop(size: int) -> Tree:
    """Return the published image augmentation: random resized crop and flip; the whole image in evaluation."""
    return {"height": size, "width": size, "train": "random-resized", "flip": True, "evaluation": "whole"}


def with_protocol(preset: Tree, protocol: str, published: Tree, method: Tree | None) -> Tree:
    """Return `preset` with the seeds, measuring, schedulers and comparison of protocol honest or published.

    `published` are extra settings of protocol published, `method` those of one method's script; both
    are ignored in protocol honest. The preset's own settings override the protocol's.
    """
    if protocol != "published":
        return merge(_honest(), preset)
    return merge(merge(merge(_published(), preset), published), method or {})


def _honest() -> Tree:
    """Return schedulers with scores after a warm-up, and the controls."""
    curriculum = {"kind": "heuristic", "stratified": True, "pacing": _pacing()}
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


def _published() -> Tree:
    """Return the schedulers of the paper's formulas and the authors' scripts, with initial scores."""
    return {
        "seeds": [0],
        "measure": {"warmup_epochs": 0, "initial_mode": "train", "order": "dataset"},
        "schedule": {
            "schedulers": {
                "uniform": {"kind": "uniform"},
                "bss-h": {"kind": "heuristic", "scores": "initial", "pacing": _pacing()},
                "bss-l": {"kind": "learned", "scores": "initial", "beta": 0.6, "measuring": "full"},
                "official-h": {"preset": "official-heuristic"},
                "official-l": {"preset": "official-learned"},
            }
        },
        "train": {"drop_last": True},
        "evaluation": {"map_over": "all", "f1_over": "present-or-predicted"},
        "compare": {"baseline": "uniform", "control": None},
    }


def _pacing() -> Tree:
    return {"shape": "root", "start": 0.1, "grow_epochs": GROW_EPOCHS}
