"""Plots of results, by matplotlib (the extra `bench`): the same numbers give the same file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "vestige"
mpl.rcParams["svg.fonttype"] = "none"  # text as text: as paths it is most of the file

from matplotlib import pyplot  # noqa: E402 - after the choice of what it draws with


class Panel(NamedTuple):
    """Bars of one measure, a bar for each name, a dot for each round. A line marks `mark`."""

    title: str
    unit: str
    values: Mapping[str, Sequence[float]]
    medians: Mapping[str, float]
    mark: tuple[str, float] | None = None


def bars(path: Path, title: str, panels: Sequence[Panel], colours: Mapping[str, str]) -> None:
    """Draw panels side by side, two a row."""
    rows = -(-len(panels) // 2)
    figure, grid = pyplot.subplots(rows, 2, figsize=(11, 2.6 * rows), layout="constrained")
    places = list(grid.flat)
    for axes, panel in zip(places, panels, strict=False):
        names = list(panel.medians)
        heights = [panel.medians[name] for name in names]
        axes.barh(names, heights, color=[colours[name] for name in names])
        for name in names:
            axes.plot(panel.values[name], [name] * len(panel.values[name]), "k.", markersize=4)
        if panel.mark is not None:
            label, value = panel.mark
            axes.axvline(value, color="black", linestyle=":", linewidth=1)
            axes.text(value, len(names) - 0.6, f"{label} ", fontsize=7, ha="right")
        axes.invert_yaxis()
        axes.set_title(panel.title, fontsize=10)
        axes.set_xlabel(panel.unit, fontsize=8)
        axes.tick_params(labelsize=8)
        axes.set_xlim(left=0)
    for axes in places[len(panels) :]:
        axes.remove()
    figure.suptitle(title)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
