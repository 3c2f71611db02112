"""The schedulers of the authors' published scripts, for `preset:` in schedule.schedulers."""

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "official-heuristic": {
        "kind": "heuristic",
        "scores": "initial",
        "pacing": {"shape": "root", "start": 0.1, "grow_epochs": 40, "first_epoch": 1},
        "order": "balanced-first",
        "ranking": "score",
        "trim": 0.0,
        "stratified": False,
    },
    "official-learned": {
        "kind": "learned",
        "scores": "initial",
        "every": 1,
        "beta": 1.0,
        "probability": "shifted",
        "order": "balanced-first",
        "measuring": "full",
        "mode": "train",
    },
}
"""Name to parameters. Scores of the freshly initialised network, epochs counted from 1, no smoothing,
measuring in train mode; T_grow is 40 in every script. Settings outside a scheduler, such as the
measuring order, come from the dataset presets in protocol published."""
