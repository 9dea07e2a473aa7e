"""Curves and maps as inline SVG: crisp at any size, coloured by the style of the page, read out by its script."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from stack3d.reporting._words import number

WIDTH, HEIGHT = 460, 262
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 12, 12, 44
_MOST = 1200  # points of a curve
_LETTER, _LINE = 7.0, 15  # of labels: the mean width of a wide font, and the distance of lines


@dataclass(frozen=True)
class Curve:
    """A curve by name; `style` is a class of the style sheet: ``before``, ``after``, ``c0`` to ``c7``."""

    name: str
    x: Any
    y: Any
    style: str = "c0"
    dashed: bool = False
    points: bool = False
    band: tuple[Any, Any] | None = None


def line_chart(
    curves: Sequence[Curve], *, x_label: str, y_label: str, marks: Sequence[float] | np.ndarray = ()
) -> Markup:
    """Return curves over a common axis; `marks` are positions, of bad slices, that get a tick at the bottom.

    What is not finite is a gap. The text alternative says what is shown, and its range.
    """
    curves = [_prepared(curve) for curve in curves]
    shown = [curve for curve in curves if np.isfinite(curve.y).any()]
    xs = _joined([curve.x[np.isfinite(curve.x)] for curve in curves])
    ys = _joined([_spread(curve) for curve in shown])
    x_range, y_range = _range(xs, 0.0), _range(ys, 0.06)
    place = _Place(x_range, y_range, lines=len(wrapped(y_label, HEIGHT - _TOP - _BOTTOM)))
    parts = [_axes(place, x_label, y_label)]
    parts += [_band(place, curve) for curve in shown if curve.band is not None]
    parts += [_path(place, curve) for curve in shown]
    parts += [_tick(place, float(mark)) for mark in marks if x_range[0] <= mark <= x_range[1]]
    if not shown:
        parts.append(Markup(f'<text x="{WIDTH / 2}" y="{HEIGHT / 2 - 10}" class="none">no finite values</text>'))
    alt = f"{y_label} by {x_label}. " + "; ".join(_in_words(curve) for curve in curves) + "."
    svg = _svg("".join(parts), alt, _data(place, shown, x_label))
    return Markup('<div class="chart">{}{}</div>').format(svg, _legend(shown, bool(len(marks))))


def heat_map(
    uri: str,
    *,
    x: tuple[float, float],
    y: tuple[float, float],
    x_label: str,
    y_label: str,
    alt: str,
    down: bool = True,
    lines: str = "",
    ratio: float | None = None,
    boxes: Sequence[tuple[tuple[float, float], tuple[float, float]]] = (),
) -> Markup:
    """Return a picture between two axes; y runs down unless said otherwise, `ratio` keeps its proportions.

    `boxes` are rectangles drawn over it, rows and columns from 0 to 1 from the upper left.
    """
    place = _Place(x, (y[1], y[0]) if down else y, ratio)
    wide, high = place.right - place.left, place.bottom - place.top
    lines += "".join(
        f'<rect class="kept" x="{place.left + wide * left:.1f}" y="{place.top + high * top:.1f}" '
        f'width="{wide * (right - left):.1f}" height="{high * (bottom - top):.1f}"/>'
        for (top, bottom), (left, right) in boxes
    )
    picture = Markup(
        '<image href="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" preserveAspectRatio="none" class="map"/>'
    ).format(uri, place.left, place.top, place.right - place.left, place.bottom - place.top)
    return Markup('<div class="chart">{}</div>').format(
        _svg(_axes(place, x_label, y_label, grid=False) + picture + Markup(lines), alt, "", place.height)
    )


def montage(uris: Sequence[str], names: Sequence[tuple[str, str]], *, ratio: float, alt: str) -> Markup:
    """Return small pictures in rows, each under its name in two lines; `ratio` is that of their sides, y to x."""
    columns = min(len(uris), 3)
    gap, head = 14.0, 2 * _LINE + 4.0
    wide = (WIDTH - gap * (columns - 1)) / columns
    high = min(max(wide * ratio, 20.0), 220.0)
    wide = high / ratio if wide * ratio > 220.0 else wide
    parts = []
    for k, (uri, name) in enumerate(zip(uris, names, strict=True)):
        left, top = (k % columns) * (wide + gap), (k // columns) * (high + head + 8.0)
        for n, line in enumerate(name):
            parts.append(Markup('<text x="{:.1f}" y="{:.1f}">{}</text>').format(left, top + _LINE * (n + 1) - 3, line))
        parts.append(
            Markup(
                '<image href="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" preserveAspectRatio="none" class="map"/>'
            ).format(uri, left, top + head, wide, high)
        )
    height = -(-len(uris) // columns) * (high + head + 8.0)
    return Markup('<div class="chart">{}</div>').format(_svg("".join(parts), alt, "", height))


class _Place:
    """From values to places in the drawing."""

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], ratio: float | None = None, lines: int = 1
    ) -> None:
        self.x, self.y = x, y
        self.left, self.right, self.top = _LEFT + _LINE * (lines - 1), WIDTH - _RIGHT, _TOP
        self.bottom = HEIGHT - _BOTTOM
        if ratio is not None:
            wide = self.right - self.left
            high = min(max(wide * ratio, 40.0), 420.0)
            self.right = min(self.right, round(self.left + max(high / ratio, 20.0)))
            self.bottom = round(self.top + high)
        self.height = self.bottom + _BOTTOM

    def across(self, values: Any) -> Any:
        low, high = self.x
        return self.left + (np.asarray(values) - low) / ((high - low) or 1.0) * (self.right - self.left)

    def up(self, values: Any) -> Any:
        low, high = self.y
        return self.bottom - (np.asarray(values) - low) / ((high - low) or 1.0) * (self.bottom - self.top)


def _prepared(curve: Curve) -> Curve:
    x, y = (np.atleast_1d(np.asarray(v, np.float64)) for v in (curve.x, curve.y))
    band = None if curve.band is None else tuple(np.atleast_1d(np.asarray(v, np.float64)) for v in curve.band)
    if x.size > _MOST:
        # The extremes of every stretch stay: a spike is what one looks for.
        stretches = np.array_split(np.arange(x.size), _MOST // 2)
        filled = np.where(np.isfinite(y), y, np.nan)
        keep = sorted({int(part[k]) for part in stretches for k in _extremes(filled[part])})
        x, y = x[keep], y[keep]
        band = None if band is None else tuple(v[keep] for v in band)
    return Curve(curve.name, x, y, curve.style, curve.dashed, curve.points, band)  # type: ignore[arg-type]


def _extremes(values: np.ndarray) -> tuple[int, int]:
    if not np.isfinite(values).any():
        return 0, values.size - 1
    return int(np.nanargmin(values)), int(np.nanargmax(values))


def _spread(curve: Curve) -> np.ndarray:
    parts = [curve.y, *(curve.band or ())]
    return np.concatenate([part[np.isfinite(part)] for part in parts])


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.array([])


def _range(values: np.ndarray, margin: float) -> tuple[float, float]:
    if values.size == 0:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        half = abs(low) * 0.05 or 0.5
        return low - half, high + half
    return low - margin * (high - low), high + margin * (high - low)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round values from `low` to `high`."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low] if math.isfinite(low) else []
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _axes(place: _Place, x_label: str, y_label: str, *, grid: bool = True) -> Markup:
    parts = []
    for value in ticks(min(place.x), max(place.x), 6):
        at = float(place.across(value))
        if grid:
            parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{place.top}" y2="{place.bottom}"/>')
        parts.append(f'<text class="tick" x="{at:.1f}" y="{place.bottom + 16}">{number(value)}</text>')
    for value in ticks(min(place.y), max(place.y), 5):
        at = float(place.up(value))
        if grid:
            parts.append(f'<line class="grid" x1="{place.left}" x2="{place.right}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick y" x="{place.left - 6}" y="{at + 4:.1f}">{number(value)}</text>')
    frame = (
        f'<rect class="frame" x="{place.left}" y="{place.top}" width="{place.right - place.left}" '
        f'height="{place.bottom - place.top}"/>'
    )
    middle, half = (place.left + place.right) / 2, (place.top + place.bottom) / 2
    labels = Markup('<text class="label" x="{:.0f}" y="{}">{}</text>').format(middle, place.bottom + 36, x_label)
    for k, line in enumerate(wrapped(y_label, HEIGHT - _TOP - _BOTTOM)):
        turned = Markup('<text class="label" transform="translate({} {:.0f}) rotate(-90)">{}</text>')
        labels += turned.format(12 + _LINE * k, half, line)
    return Markup("".join(parts) + frame) + labels


def wrapped(label: str, room: float) -> list[str]:
    """Return a label in the lines that fit an axis of so many pixels, its unit whole; what does not fit two is cut."""
    most = int(room / _LETTER)
    if len(label) <= most:
        return [label]
    head, slash, unit = label.rpartition(" / ")
    end = f"{slash}{unit}".replace(" ", "\N{NO-BREAK SPACE}") if slash else ""
    words = (head if slash else label).split()
    lines = textwrap.wrap(" ".join(words) + end, most, break_long_words=False)
    while len(lines) > 2 and len(words) > 1:
        words.pop()
        lines = textwrap.wrap(" ".join(words) + "…" + end, most, break_long_words=False)
    return lines


def _path(place: _Place, curve: Curve) -> Markup:
    x, y = place.across(curve.x), place.up(curve.y)
    good = np.isfinite(x) & np.isfinite(y)
    commands, pen = [], "M"
    good, x, y = good.tolist(), x.tolist(), y.tolist()
    for ok, a, b in zip(good, x, y, strict=True):
        if ok:
            commands.append(f"{pen}{a:.1f} {b:.1f}")
        pen = "L" if ok else "M"
    dashed = " dashed" if curve.dashed else ""
    parts = [] if curve.points else [f'<path class="line {curve.style}{dashed}" d="{"".join(commands)}"/>']
    if curve.points or sum(good) <= 3:
        parts += [
            f'<circle class="dot {curve.style}" cx="{a:.1f}" cy="{b:.1f}" r="2.6"/>'
            for ok, a, b in zip(good, x, y, strict=True)
            if ok
        ]
    return Markup("".join(parts))


def _band(place: _Place, curve: Curve) -> Markup:
    assert curve.band is not None
    x, low, high = place.across(curve.x), place.up(curve.band[0]), place.up(curve.band[1])
    good = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
    if good.sum() < 2:
        return Markup("")
    x, low, high = (values[good].tolist() for values in (x, low, high))
    there = [f"{a:.1f} {b:.1f}" for a, b in zip(x, high, strict=True)]
    back = [f"{a:.1f} {b:.1f}" for a, b in zip(x[::-1], low[::-1], strict=True)]
    return Markup(f'<path class="band {curve.style}" d="M{"L".join([*there, *back])}Z"/>')


def _tick(place: _Place, mark: float) -> Markup:
    at = float(place.across(mark))
    return Markup(f'<line class="bad" x1="{at:.1f}" x2="{at:.1f}" y1="{place.bottom - 9}" y2="{place.bottom}"/>')


def _in_words(curve: Curve) -> str:
    known = curve.y[np.isfinite(curve.y)]
    if not known.size:
        return f"{curve.name}: no finite values"
    return f"{curve.name}: {number(known.min())} to {number(known.max())}"


def _data(place: _Place, curves: Sequence[Curve], x_label: str) -> str:
    """Return what the script reads out at the pointer, as JSON."""
    return json.dumps(
        {
            "x": place.x,
            "left": place.left,
            "right": place.right,
            "top": place.top,
            "bottom": place.bottom,
            "label": x_label,
            "curves": [
                {"name": c.name, "style": c.style, "x": _short(c.x), "y": _short(c.y)} for c in curves if len(c.x)
            ],
        },
        separators=(",", ":"),
    )


def _short(values: np.ndarray) -> list[float | None]:
    return [float(f"{v:.5g}") if math.isfinite(v) else None for v in values.tolist()]


def _svg(content: str, alt: str, data: str, height: float = HEIGHT) -> Markup:
    attribute = Markup(' data-chart="{}" tabindex="0"').format(data) if data else Markup("")
    return Markup('<svg viewBox="0 0 {} {:.0f}" role="img" aria-label="{}"{}>{}</svg>').format(
        WIDTH, height, alt, attribute, Markup(content)
    )


def _legend(curves: Sequence[Curve], marked: bool) -> Markup:
    items = [
        Markup('<li><span class="key {}{}"></span>{}</li>').format(c.style, " dashed" if c.dashed else "", c.name)
        for c in curves
    ]
    if marked:
        items.append(Markup('<li><span class="key bad"></span>bad slice</li>'))
    if len(items) < 2 and not marked and (not curves or curves[0].band is None):
        return Markup("")
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def scale(low: float, high: float, unit: str, stops: Sequence[str]) -> Markup:
    """Return the colour scale of a map."""
    return Markup(
        '<p class="scale"><span>{}</span><i style="background:linear-gradient(to right,{})"></i><span>{} {}</span></p>'
    ).format(number(low), ",".join(stops), number(high), escape(unit))
