"""The figures of bad slices and of hot pixels, of every channel."""

from __future__ import annotations

import numpy as np
import xarray as xr

from stack3d._words import counted
from stack3d.reporting._model import Block, Figure, Table, Text
from stack3d.reporting._svg import Curve, line_chart
from stack3d.reporting._tried import channel_names, channels_in
from stack3d.reporting._words import along_z, number, plain

_MOST_ROWS, _MOST_PIXELS = 200, 50


def bad_slices(estimate: xr.Dataset) -> list[Block]:
    """Return which slices are bad and why, and the scores by which they were judged, channel by channel."""
    z, label = along_z(estimate)
    valid = estimate["valid"].values.astype(bool) if "valid" in estimate else np.ones(z.size, bool)
    channels, reasons = _reasons(estimate, z.size)
    rows = [
        (str(k), number(z[k], 6), *(str(of[k]) or "–" for of in reasons)) for k in np.flatnonzero(~valid)[:_MOST_ROWS]
    ]
    said = _how_many(int((~valid).sum()), valid.size, "")
    if len(channels) > 1:
        each = [
            _how_many(int((of != "").sum()), valid.size, f" in {name}")
            for name, of in zip(channels, reasons, strict=True)
        ]
        said = " ".join([said.replace("bad.", "bad in one channel or more, and count as bad in all."), *each])
    wrong = [f"what is wrong in {name}" for name in channels] if len(channels) > 1 else ["what is wrong"]
    found: list[Block] = [Table(("slice", label, *wrong), rows, said) if rows else Text(said)]
    return found + _scores(estimate, z, label, valid)


def _how_many(bad: int, count: int, where: str) -> str:
    return f"{bad} of {counted(count, 'slice')} {'is' if bad == 1 else 'are'} bad{where}."


def _reasons(estimate: xr.Dataset, count: int) -> tuple[list[str], list[np.ndarray]]:
    """Return the channels, and for each what is wrong with its slices, "" where nothing is."""
    if "reason" not in estimate:
        return [""], [np.full(count, "")]
    reason = estimate["reason"]
    if "channel" not in reason.dims:
        return [""], [np.atleast_1d(reason.values)]
    rows = reason.transpose("channel", ...).values.reshape(reason.sizes["channel"], -1)
    return channel_names(estimate), list(rows)


def _scores(estimate: xr.Dataset, z: np.ndarray, label: str, valid: np.ndarray) -> list[Block]:
    if "score" not in estimate or not {"z", "measure"} <= set(estimate["score"].dims):
        return []
    found: list[Block] = []
    parts = channels_in(estimate)
    for k, measure in enumerate(estimate["measure"].values):
        values = [(of.removeprefix(", "), one["score"].transpose("z", "measure").values[:, k]) for of, one in parts]
        curves = [
            Curve(name or str(measure), z, of, f"c{(n if len(parts) > 1 else k) % 8}")
            for n, (name, of) in enumerate(values)
        ]
        caption = f"{plain(str(measure)).capitalize()}: robust standard deviations from the usual."
        chart = line_chart(curves, x_label=label, y_label=f"score of {plain(str(measure))}", marks=z[~valid])
        found.append(Figure(chart, caption))
    return found


def hot_pixels(estimate: xr.Dataset) -> list[Block]:
    """Return how many pixels thresholds would find, and those that were found, of each channel."""
    return [block for of, one in channels_in(estimate) for block in _of_one(one, of)]


def _of_one(one: xr.Dataset, of: str) -> list[Block]:
    found: list[Block] = []
    if "level" in one.coords and "curve_hot" in one and one["curve_hot"].ndim == 1:
        with np.errstate(divide="ignore"):
            curves = [
                Curve(name, one["level"].values, np.log10(one[f"curve_{name}"].values.astype(float)), f"c{k}")
                for k, name in enumerate(("hot", "dark"))
            ]
        chart = line_chart(curves, x_label="threshold / grey value", y_label="log10 of pixels found")
        found.append(Figure(chart, f"How many pixels a threshold would find{of}."))
    if "hot_pixels" in one and set(one["hot_pixels"].dims) == {"y", "x"}:
        values = one["hot_pixels"].transpose("y", "x").values
        rows, columns = np.nonzero(values)
        marks = [
            (f"{y}, {x}", "hot" if values[y, x] > 0 else "dark")
            for y, x in list(zip(rows, columns, strict=True))[:_MOST_PIXELS]
        ]
        said = f"{counted(rows.size, 'pixel')} hot or dark{of}"
        more = f"; {_MOST_PIXELS} are listed" if rows.size > _MOST_PIXELS else ""
        found.append(Table(("row, column", "kind"), marks, f"{said}{more}.") if marks else Text(f"{said}."))
    return found
