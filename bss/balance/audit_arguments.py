"""The arguments of `audit`, checked, and as arrays that it computes with."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

LEAST = 1e-4
"""Least probability of emptiness, whatever an input looks like."""


def checked_mapping(values: object, name: str) -> Mapping[str, npt.ArrayLike]:
    """Return a mapping, or raise ValueError that names the argument."""
    if not isinstance(values, Mapping):
        raise ValueError(f"`{name}` must be a dict with an array of each modality, but got: {type(values).__name__}")
    return values


def checked_array(values: npt.ArrayLike | torch.Tensor, what: str) -> npt.NDArray[Any]:
    """Return an array of numbers, or raise ValueError; of a tensor without its gradient, and of bfloat16 as float32."""
    try:
        if isinstance(values, torch.Tensor):
            values = values.detach().cpu()
            values = values.float() if values.dtype == torch.bfloat16 else values
        found = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:  # rows of several lengths, tensors in a list, sparse ones
        raise ValueError(f"{what} must be an array of numbers, but got: {type(values).__name__} ({error})") from error
    if found.dtype.kind not in "biuf":
        raise ValueError(f"{what} must be an array of numbers, but got: {type(values).__name__} of {found.dtype}")
    return found


def checked_predictions(
    predictions: Mapping[str, npt.ArrayLike], probabilities: bool
) -> dict[str, npt.NDArray[np.floating]]:
    """Return logits, float32 or float64 [n, classes] each, or raise ValueError; arrays of floats are not copied."""
    if len(predictions) < 2:
        raise ValueError(f"an audit needs predictions of two or more modalities, but got: {sorted(predictions)}")
    arrays = {name: checked_array(values, f"predictions of {name}") for name, values in predictions.items()}
    arrays = {
        name: values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)
        for name, values in arrays.items()
    }
    shapes = {name: values.shape for name, values in arrays.items()}
    shape = next(iter(shapes.values()))
    if len(set(shapes.values())) > 1 or len(shape) != 2 or shape[0] < 1 or shape[1] < 2:
        raise ValueError(f"predictions must be [n, classes] of one shape, n >= 1 and classes >= 2, but got: {shapes}")
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
            raise ValueError(f"predictions of {name} must be finite, but got: {values[row]} in row {row}")
        if probabilities:
            wrong = (values.min(axis=1) < 0) | (np.abs(values.sum(axis=1) - 1) > 1e-3)
            if wrong.any():
                row = int(np.flatnonzero(wrong)[0])
                raise ValueError(f"probabilities of {name} must sum to 1, but got: {values[row]} in row {row}")
            arrays[name] = np.log(np.maximum(values, np.finfo(np.float32).tiny, dtype=np.float64))
    if not probabilities and shape[0] > 1 and all(_are_probabilities(values) for values in arrays.values()):
        raise ValueError(
            "predictions must be logits, but no value is negative and every row sums to 1: pass probabilities=True"
        )
    return arrays


def _are_probabilities(values: npt.NDArray[np.floating]) -> bool:
    return bool(values.min() >= 0 and (np.abs(values.sum(axis=1) - 1) <= 1e-4).all())


def checked_labels(labels: npt.ArrayLike, n: int, classes: int) -> npt.NDArray[np.int64]:
    """Return labels as int64 [n] or raise ValueError."""
    y = checked_array(labels, "labels")
    if y.shape != (n,) or not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"labels must be integers [{n}], as long as the predictions, but got: {y.dtype} {y.shape}")
    if y.min() < 0 or y.max() >= classes:
        row = int(np.flatnonzero((y < 0) | (y >= classes))[0])
        raise ValueError(f"labels must be in [0, {classes}), but got: {y[row]} in row {row}")
    return y.astype(np.int64)


def checked_evidence(
    empty: Mapping[str, npt.ArrayLike], logits: Mapping[str, object], n: int
) -> dict[str, npt.NDArray[np.float64]]:
    """Return log odds float64 [n] for each modality of `empty`, or raise ValueError."""
    evidence = {}
    for name, values in empty.items():
        q = checked_array(values, f"`empty` of {name}").astype(np.float64)
        if name not in logits:
            raise ValueError(f"`empty` must name modalities of the predictions ({sorted(logits)}), but got: {name!r}")
        if q.shape != (n,) or not ((q >= 0) & (q <= 1)).all():
            raise ValueError(f"`empty` of {name} must be probabilities [{n}] in [0, 1], but got: shape {q.shape}")
        q = q.clip(LEAST, 1 - 1e-12)  # what looks empty beyond doubt has finite odds
        evidence[name] = np.log(q / (1 - q))
    return evidence
