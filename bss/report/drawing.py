"""Drawing inline SVG for the report: figures, and one colour per scheduler throughout."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from bss.metrics.base import Metric

PALETTE = (
    "#555555",
    "#e69f00",
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#8c6d31",
    "#7b4fa3",
    "#b10026",
)
"""As distinguishable for colour-blind readers as ten colours can be."""
PALETTE_DARK = (
    "#b4bcc6",
    "#f0b429",
    "#4aa3df",
    "#ff8a4c",
    "#2fc79a",
    "#e39ac5",
    "#8fd0f5",
    "#c9a45c",
    "#b48be0",
    "#ff6b7d",
)
"""The same on a dark page."""
INK = "#1c2733"
"""Text and axes; in the page they take the colour of the text around them."""
PAPER = "#fefefd"
"""The inside of hollow marks; in the page it is the page's own colour."""

Colours = dict[str, str]


def colours(names: list[str]) -> Colours:
    """Return one colour per scheduler, by its place in params.yaml; from the eleventh on they repeat."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}


def css_colour(colour: str) -> str:
    """Return the name under which the page's style holds a colour of `PALETTE`, light or dark."""
    return f"var(--c{PALETTE.index(colour)})"


STYLES = ("-", "--", ":", "-.")


def line_style(place: int) -> str:
    """Return the line style of the scheduler at `place`: colours repeat after ten, so the next ten are dashed."""
    return STYLES[place // len(PALETTE) % len(STYLES)]


@contextmanager
def figure(width: float, height: float, label: str) -> Iterator[tuple[Any, Callable[[], str]]]:
    """Give axes to draw on and a function that returns the drawing as SVG: `panels` with a single one."""
    with panels(width, height, label, 1, 1) as ([axes], finish):
        yield axes, finish


@contextmanager
def panels(
    width: float, height: float, label: str, rows: int, columns: int, share_x: bool = False
) -> Iterator[tuple[list[Any], Callable[[], str]]]:
    """Give `rows` x `columns` axes that share their y-axis, and a function that returns the drawing as SVG.

    With `share_x` they share both axes. The same data give the same bytes. `label` says what the drawing shows, for
    screen readers.
    """
    import matplotlib as mpl

    style: Any = {
        "svg.hashsalt": "bss",
        "svg.fonttype": "none",
        "text.parse_math": False,  # a dollar sign in a name of the data is a dollar sign
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "savefig.transparent": True,
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    }
    with mpl.rc_context(style):
        # The object-oriented interface: no display, no global state.
        from matplotlib.figure import Figure

        drawing = Figure(figsize=(width, height), layout="constrained")
        axes = drawing.subplots(rows, columns, sharex=share_x, sharey=True, squeeze=False).ravel().tolist()

        def finish() -> str:
            buffer = io.StringIO()
            drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
            return _for_page(buffer.getvalue(), label)

        yield axes, finish


def label_panels(drawn: list[Any], used: int, x: str, y: str, size: int) -> None:
    """Clear the panels after the first `used`, and label the axes once for all panels, at font size `size`."""
    for axes in drawn[used:]:
        axes.set_axis_off()
    first = drawn[0]
    first.xaxis.get_major_locator().set_params(integer=True, nbins=4)
    first.yaxis.get_major_locator().set_params(nbins=4)
    first.figure.supxlabel(x, fontsize=size)
    first.figure.supylabel(y, fontsize=size)


def _for_page(svg: str, label: str) -> str:
    """Return the drawing without what only a file of its own needs, in the colours of the page around it."""
    svg = svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{escape(label, quote=True)}"', 1)
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="series-(\d+)"', r'<g data-series="\1"', svg)
    # The other groups are numbered per drawing: in the page these ids would not be unique.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = svg.replace(INK, "currentColor").replace(PAPER, "var(--page)")
    for colour in PALETTE:
        svg = svg.replace(colour, css_colour(colour))
    return svg


def mark_series(artist: Any, place: int) -> None:
    """Mark an artist as part of the scheduler at `place`, for the page to highlight it with its other parts."""
    artist.set_gid(f"series-{place}")


def legend(axes: Any) -> None:
    """Draw the legend beside the axes; its entries belong to the series in the order of their labels."""
    drawn = axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    for line in drawn.get_lines():
        line.set_linewidth(1.6)
    for artists in (drawn.legend_handles, drawn.get_texts()):
        for place, artist in enumerate(artists):
            mark_series(artist, place)


def capitalised(label: str) -> str:
    """Return `label` with a capital at its start, unless its first word is a name such as mAP."""
    first = label.split(maxsplit=1)[0]
    return label[0].upper() + label[1:] if first == first.lower() else label


def axis_label(what: str, metric: Metric[Any]) -> str:
    """Return `what` with the unit of `metric` and, if lower is better, a note that it is."""
    unit = f", {metric.unit}" if metric.unit else ""
    return what + unit + ("; lower is better" if metric.better == "lower" else "")
