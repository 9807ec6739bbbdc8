"""The frontier as a picture: mean delay against requests, one panel for each set of tasks."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

Point = tuple[float, float]
"""Mean delay in seconds, mean requests."""

GREY = "#7d8590"
COLOURS = ("#2f81f7", "#d4792a", "#3a9d4f", "#a371f7")
LABEL_OFFSETS = {"botocore": (-6, -9), "tenacity exponential": (-6, 2), "terraform": (6, -9), "official": (6, -9)}
"""Offsets in points, from the dot, of labels that would cover another."""


class Panel(NamedTuple):
    """The curves of waiter and of the optima, by price, and one point for each peer."""

    title: str
    curves: Mapping[str, Sequence[Point]]
    peers: Mapping[str, Point]


def draw(panels: Sequence[Panel], file: Path) -> None:
    """Write the panels side by side. Greys and mid-tones without a background are legible on light and dark pages."""
    style: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "waiter", "font.family": "sans-serif"}
    style |= dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), GREY)
    with mpl.rc_context(style):
        figure = Figure(figsize=(5.6 * len(panels), 4.6), layout="constrained")
        for i, panel in enumerate(panels):
            _draw(figure.add_subplot(1, len(panels), i + 1), panel)
        figure.savefig(file, transparent=True, metadata={"Date": None} if file.suffix == ".svg" else None)


def _draw(axes: Axes, panel: Panel) -> None:
    for colour, (name, points) in zip(COLOURS, panel.curves.items(), strict=False):
        curve = sorted(points, key=itemgetter(1))
        axes.plot([point[1] for point in curve], [point[0] for point in curve], color=colour, linewidth=2.2, label=name)
    for name, point in panel.peers.items():
        _mark(axes, name, point)
    axes.set(title=panel.title, xscale="log", yscale="log", xlim=(0.8, 400), ylim=(0.1, 40))
    axes.set(xlabel="requests per task", ylabel="mean delay until the end is noticed, s")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.grid(color=GREY, alpha=0.25, which="major")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper right", fontsize=9)


def _mark(axes: Axes, name: str, point: Point) -> None:
    delay, requests = point
    x, y = next((place for start, place in LABEL_OFFSETS.items() if name.startswith(start)), (6, 2))
    side = "left" if x > 0 else "right"
    axes.plot(requests, delay, "o", color=GREY, markersize=5)
    axes.annotate(name, (requests, delay), xytext=(x, y), textcoords="offset points", fontsize=8, ha=side)
