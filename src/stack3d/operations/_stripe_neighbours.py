"""Stripes from what a slice has and its neighbours have not."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d.model import rebuild, valid_slices
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
    left = _left(int(neighbours))
    for step in range(_PASSES):
        out = dtype if step + 1 == _PASSES else kind
        data = map_windows(
            da,
            _cleaned,
            windows,
            arguments={"method": method, "plans": plans, "dtype": out, "left": left if step + 1 == _PASSES else 0.0},
            per_output=per_output,
            dtype=out,
            device=device,
            label="destripe",
        )
        da = rebuild(da, data)
    return data


def _cleaned(
    frames: list[Any],
    own: int,
    good: tuple[bool, ...],
    method: str,
    plans: tuple[Any, Any],
    dtype: np.dtype[Any],
    left: float,
) -> tuple[Any, int]:
    shared = kernels.stripe_frame
    used = [k for k in range(len(frames)) if good[k] or k == own]
    parts = [shared.filled(frames[k]) for k in used]
    place = used.index(own)
    alone, between = plans
    u, weight = parts[place]
    if len(used) > 1:
        other, known = shared.expected([part for part, _ in parts], place, [w for _, w in parts])
        both = weight if known is None else (known if weight is None else weight * known)
        alike, slope = shared.likeness(u, other, both, alone.angle)
        if alike >= _LEAST:
            other *= np.float32(min(slope, 1.0))
            field = stripes_of(u - other, method, between, both)
            if left:
                more = stripes_of(u - field, method, alone, weight)
                field += np.float32(_share(left * shared.power(field), shared.power(more))) * more
            return shared.subtract(frames[own], field, dtype)
    return shared.subtract(frames[own], stripes_of(u, method, alone, weight), dtype)


def _share(wanted: float, found: float) -> float:
    return min(1.0, wanted / found) if found > 0 else 0.0


def _left(neighbours: int) -> float:
    """Return the power of stripes that both passes leave, over that of what the second one finds.

    Stripes of one slice and another have nothing in common, and each pass leaves their mean over the neighbours.
    """
    turn = np.pi * (np.arange(1000) + 0.5) / 1000
    mean = np.mean([np.cos(k * turn) for k in range(1, neighbours + 1)], axis=0)
    return float(np.mean(mean**4) / np.mean((mean - mean**2) ** 2))
