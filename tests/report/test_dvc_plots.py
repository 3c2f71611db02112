"""DVC's own plots of the comparison."""

import json
from pathlib import Path

from dvc_render import VegaRenderer

TEMPLATES = Path(__file__).parents[2] / ".dvc" / "plots"


def test_dvc_fills_the_template_and_colours_by_scheduler():
    values = [
        {"scheduler": name, "epoch": epoch, "acc": accuracy, "rev": "workspace"}
        for name, accuracy in (("uniform", 0.5), ("bss-h", 0.6))
        for epoch in (0, 1)
    ]
    properties = {"x": "epoch", "y": "acc", "title": "Accuracy by epoch", "template": "schedulers"}
    filled = VegaRenderer(values, "curves.csv", template_dir=str(TEMPLATES), **properties).get_filled_template()
    plot = json.loads(filled) if isinstance(filled, str) else filled
    assert "<DVC" not in json.dumps(plot)
    assert plot["data"]["values"] == values
    encoding = plot["encoding"]
    assert encoding["x"]["field"] == "epoch"
    assert encoding["y"]["field"] == "acc"
    assert encoding["color"]["field"] == "scheduler"
    assert encoding["strokeDash"]["field"] == "rev"  # `dvc plots diff` shows two revisions
