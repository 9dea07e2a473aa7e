"""Stripes from what a slice has and its neighbours have not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d.model import rebuild, valid_slices
from stack3d.operations._stripe_batches import map_window_batches, on_gpu
from stack3d.operations._stripe_ways import stripes_of
from stack3d.windows import centred, map_windows

_PASSES = 2
_LEAST = 0.3  # correlation below which neighbours are no help


def check_neighbours(da: xr.DataArray, neighbours: Any) -> None:
    """Raise unless `neighbours` is a number of slices that makes sense for the stack."""
    if isinstance(neighbours, bool) or not isinstance(neighbours, int | np.integer):
        raise TypeError(f"neighbours={neighbours!r} must be a whole number of slices on either side")
    if neighbours < 0:
        raise ValueError(f"neighbours={neighbours} must be at least 0")
    if neighbours and "z" not in da.dims:
        raise ValueError(f"neighbours={neighbours} counts slices along z, but the stack has dims {da.dims}")


def with_neighbours(
    da: xr.DataArray, method: str, plans: tuple[Any, Any], neighbours: int, dtype: np.dtype[Any], device: str | None
) -> Any:
    """Return the values without stripes: twice over, so that neighbours are rid of their own stripes first.

    What stripes have in common over the window is left by this, and looked for in each slice alone at the end; walls
    that are found instead have more power than is left to be expected.
    """
    kind = kernels.stripe_frame.working_dtype(da.dtype, dtype)
    windows = centred(da.sizes["z"], int(neighbours))
    good = valid_slices(da)
    per_output = {
        "own": [int(k - start) for k, (start, _) in enumerate(windows)],
        "good": [tuple(bool(g) for g in good[start:stop]) for start, stop in windows],
    }
    share, left = relaxed(int(neighbours))
    for step in range(_PASSES):
        last = step + 1 == _PASSES
        out = dtype if last else kind
        way = _Way(method, plans, share, 2 * int(neighbours), left if last else 0.0)
        given: Any = {"arguments": {"way": way, "dtype": out}, "per_output": per_output, "dtype": out}
        if on_gpu(da, device):
            data = map_window_batches(da, _cleaned_batch, windows, label="destripe", **given)
        else:
            data = map_windows(da, _cleaned, windows, device=device, label="destripe", **given)
        da = rebuild(da, data)
    return data


class _Way(NamedTuple):
    """How stripes are found."""

    method: str
    plans: tuple[Any, Any]  # for a frame alone, and for a difference
    share: float  # of what is found in differences to `most` neighbours, that is taken
    most: int
    left: float  # power that is looked for in frames alone at the end, over that of what was found; 0: not at all


class _Compared(NamedTuple):
    """A slice beside its neighbours."""

    frame: Any  # without gaps
    weight: Any
    apart: Any = None  # what it has and the neighbours have not; None where they are no help
    both: Any = None  # weight of that
    share: float = 0.0  # of the stripes in it, that are taken


def _cleaned(frames: list[Any], own: int, good: tuple[bool, ...], way: _Way, dtype: np.dtype[Any]) -> tuple[Any, int]:
    parts = [kernels.stripe_frame.filled(frames[k]) if good[k] or k == own else None for k in range(len(frames))]
    found = _compared(parts, own, way)
    alone, between = way.plans
    if found.apart is None:
        field = stripes_of(found.frame, way.method, alone, found.weight)
        return kernels.stripe_frame.subtract(frames[own], field, dtype)
    field = stripes_of(found.apart, way.method, between, found.both)
    field *= np.float32(found.share)
    if way.left:
        more = stripes_of(found.frame - field, way.method, alone, found.weight)
        field += _bounded(more, field, way)
    return kernels.stripe_frame.subtract(frames[own], field, dtype)


def _cleaned_batch(
    frames: list[Any], windows: np.ndarray, own: list[int], good: list[tuple[bool, ...]], way: _Way,
    dtype: np.dtype[Any],
) -> tuple[Any, int]:  # fmt: skip
    """`_cleaned` of several windows of `frames`: compared one by one, their stripes found at once."""
    shared = kernels.stripe_frame
    parts = [shared.filled(frame) for frame in frames]
    found = []
    for (start, stop), place, known in zip(windows, own, good, strict=True):
        used = [part if known[k] or k == place else None for k, part in enumerate(parts[start:stop])]
        found.append(_compared(used, place, way))
    fields: dict[int, Any] = {}
    alike = [k for k, one in enumerate(found) if one.apart is not None]
    for k, field in _stripes_at_once([(k, found[k].apart, found[k].both) for k in alike], way.method, way.plans[1]):
        fields[k] = np.float32(found[k].share) * field
    rest = [(k, one.frame - fields.get(k, np.float32(0)), one.weight) for k, one in enumerate(found)]
    rest = [one for one in rest if way.left or one[0] not in fields]
    for k, field in _stripes_at_once(rest, way.method, way.plans[0]):
        fields[k] = fields[k] + _bounded(field, fields[k], way) if k in fields else field
    owns = [frames[start + place] for (start, _), place in zip(windows, own, strict=True)]
    return shared.subtract_each(owns, [fields[k] for k in range(len(owns))], dtype)


def _stripes_at_once(items: list[tuple[int, Any, Any]], method: str, plan: Any) -> Iterator[tuple[int, Any]]:
    """Yield the number and the stripes of (number, frame, weight)."""
    if items:
        numbers, frames, weights = zip(*items, strict=True)
        batch, weight = kernels.stripe_frame.stacked(frames, weights)
        yield from zip(numbers, stripes_of(batch, method, plan, weight), strict=True)


def _compared(parts: Sequence[Any], own: int, way: _Way) -> _Compared:
    """Return slice `own` of a window of `stripe_frame.filled` beside the others that are not None."""
    shared = kernels.stripe_frame
    used = [k for k, part in enumerate(parts) if part is not None]
    u, weight = parts[own]
    if len(used) > 1:
        frames, weights = zip(*(parts[k] for k in used), strict=True)
        other, known = shared.expected(frames, used.index(own), weights)
        both = weight if known is None else (known if weight is None else weight * known)
        alike, slope = shared.likeness(u, other, both, way.plans[0].angle)
        if alike >= _LEAST:
            other *= np.float32(min(slope, 1.0))
            return _Compared(u, weight, u - other, both, _part(way.share, len(used) - 1, way.most))
    return _Compared(u, weight)


def _bounded(more: Any, field: Any, way: _Way) -> Any:
    """Return of `more` stripes what the passes may have left beside those of a field."""
    power = kernels.stripe_frame.power
    return np.float32(_share(way.left * power(field), power(more))) * more


def _share(wanted: float, found: float) -> float:
    return min(1.0, wanted / found) if found > 0 else 0.0


@lru_cache(maxsize=16)
def relaxed(neighbours: int) -> tuple[float, float]:
    """Return how much each pass takes of what it finds, and the power that all leave over that of what the last one takes.

    Stripes of one slice and another have nothing in common, and a difference has those of the neighbours with the opposite
    sign. Where stripes go as cos(t z) their mean over the neighbours is a factor; of all t together least is to be left.
    """
    turn = np.pi * (np.arange(1000) + 0.5) / 1000
    apart = 1 - np.mean([np.cos(k * turn) for k in range(1, neighbours + 1)], axis=0)
    shares = np.linspace(0.5, 1.0, 101)
    power = [np.mean((1 - share * apart) ** (2 * _PASSES)) for share in shares]
    best = int(np.argmin(power))
    share = float(shares[best])
    last = (1 - share * apart) ** (_PASSES - 1) * share * apart
    return share, float(power[best] / np.mean(last**2))


def _part(share: float, used: int, most: int) -> float:
    """Return the share where only some neighbours are used: their mean has more of their own stripes."""
    return share * used / (used + 1) * (most + 1) / most
