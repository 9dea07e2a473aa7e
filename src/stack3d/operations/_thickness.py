"""Distances between slices, from how the images themselves change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d import estimates, kernels
from stack3d._provenance import estimator
from stack3d._warn import warn
from stack3d._words import counted
from stack3d.grid import spacing_of, units_of
from stack3d.model import one_channel, valid_slices
from stack3d.operations import _grey
from stack3d.operations._transforms import UntiedSliceWarning
from stack3d.units import Length, conversion_factor, parse_length
from stack3d.windows import reduce_windows

Curve = Literal["stack", "y", "x"]
_CURVES = ("stack", "y", "x")
_ALIKE = 0.1  # less correlated slices tell nothing of their distance
_REACH = 7  # of the local mean, in pixels or slice distances, whichever is larger
_NODES = (
    0.25,
    0.5,
    0.75,
    1,
    1.5,
    2,
    3,
    4,
    5,
    6,
    8,
    10,
)  # where the curve within frames is measured, in slice distances


@estimator(version=1, needs=("z",))
def estimate_thickness(
    da: xr.DataArray,
    *,
    curve: Curve = "stack",
    distance: Length | None = None,
    channel: str | None = None,
    region: Mapping[str, Any] | None = None,
    lags: int = 3,
    scale: Length | None = None,
) -> xr.Dataset:
    """Measure the distances between slices by how fast the image changes from one to the next.

    The slices must be aligned (`register`). Of each slice only fine structure is compared: what differs from the mean
    around each pixel. Each frame is read once.

    Parameters
    ----------
    da : DataArray ([channel], z, y, x)
    curve : {"stack", "y", "x"}
        From where it is known how correlation falls with distance. ``"stack"``: from the slices themselves, by pairs one,
        two and more slices apart; distances are relative then, and their mean is `distance`. ``"y"`` or ``"x"``:
        from within the frames, along this axis; distances are absolute, as far as the specimen looks alike along this
        axis and along z.
    distance : float or str, optional
        Mean distance between slices, for ``curve="stack"``: a number in the unit of z, or such as ``"10 nm"``. By
        default, that of the z coordinate.
    channel : str, optional
        The channel that is measured, by default the first.
    region : dict, optional
        Part of the frame that is measured, such as ``dict(y=slice(0, 500), x=slice("1 um", "2 um"))``; add
        ``by="index"`` to count pixels.
    lags : int
        Pairs up to this many slices apart are compared; at least 2 for ``curve="stack"``.
    scale : float or str, optional
        How far the local mean reaches from each pixel, in the unit of x: structure much larger than this has no part. By
        default seven pixels, or seven times the nominal distance of slices where that is larger.

    Returns
    -------
    Dataset
        Kind ``"thickness"``, along z: ``position``, strictly increasing from that of the first slice; ``increment``, the
        distance from the slice before (NaN for the first), with ``increment_error``, its standard error by
        the pairs alone; ``structure``, how fast a slice decorrelates within its frame, over the median slice; ``noise``,
        what its own noise takes from the logarithm of its correlations, over the median slice; ``excess``,
        what is amiss beyond that; ``quality``, 1 for a good slice, less where noise or excess make it unlike its
        neighbours; ``measured``, whether any pair holds it. And ``decorrelation(distance)``, the curve used.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.

    Warns
    -----
    UntiedSliceWarning
        When slices resemble no other one; they are spaced evenly between those that do. When nothing can be measured, the
        positions are those of the stack.

    Notes
    -----
    With ``r = -log(correlation)`` of the fine structure of two slices, ``r = s f(d) + b1 + b2``: curve f of their distance
    d, structure s, and the noise b of each, both measured within the frames, where noise adds the same at all distances.
    Positions, curve and the excess of bad slices are solved for together, robustly. Distances from the decay of
    likeness: J. Sporring et al., "Estimating the thickness of ultra thin sections for electron microscopy by image
    statistics", ISBI 2014; positions and curve together: P. Hanslovsky, J. A. Bogovic and S. Saalfeld,
    doi:10.1093/bioinformatics/btw794.

    Examples
    --------
    >>> thickness = stack.stack3d.estimate_thickness()
    >>> bool((thickness["increment"][1:] > 0).all())
    True
    >>> even = stack.stack3d.resample(estimate=thickness)
    """
    volume = _checked(da, curve, distance, channel, lags)
    unit = units_of(volume, "z")
    if curve != "stack":
        unit = units_of(volume, curve)
    base = _base(volume, curve)
    nodes = sorted({max(1, round(base * node)) for node in _NODES} | {base, 3 * base})
    found = reduce_windows(
        _grey.measured(volume, region),
        _likeness,
        _windows(volume.sizes["z"], lags),
        prepare=_fine,
        prepare_arguments={
            "reach": _reach(volume, curve, scale, base),
            "nodes": nodes if curve != "stack" else [base, 3 * base],
        },
        arguments={"lags": lags},
        label="estimate thickness",
    )
    good = valid_slices(volume)
    known = nodes if curve != "stack" else [base, 3 * base]
    structure, noise = _within_frames(found["within"], known, base, good)
    solved = kernels.thickness.increments(
        _decorrelation(found["between"], good),
        structure,
        noise,
        curve=_curve_of_frames(found["within"], known, noise, good, curve),
        start=float(base),
    )
    step = _spacing(volume, curve, distance)
    return _estimate(da, volume, solved, structure, noise, curve=curve, step=step, unit=unit)


def _checked(da: xr.DataArray, curve: Any, distance: Any, channel: str | None, lags: Any) -> xr.DataArray:
    _grey.check_numbers(da, "estimate_thickness")
    if curve not in _CURVES:
        raise ValueError(f"curve={curve!r} is not allowed; it must be one of {_CURVES}")
    if distance is not None and curve != "stack":
        raise ValueError(f"distance={distance!r} and curve={curve!r} both say how large distances are; give one")
    if isinstance(lags, bool) or not isinstance(lags, int | np.integer):
        raise TypeError(f"lags={lags!r} must be a whole number of slices")
    least = 2 if curve == "stack" else 1
    if lags < least:
        raise ValueError(f"lags={lags} must be at least {least} with curve={curve!r}")
    volume = one_channel(da, channel)
    if volume.dims != ("z", "y", "x"):
        raise ValueError(f"da has dims {da.dims}; distances are measured on (z, y, x): choose one with da.isel(...)")
    return volume


def _base(volume: xr.DataArray, curve: Curve) -> int:
    """Return the nominal distance between slices in whole pixels, 1 where they cannot be compared."""
    axis = "x" if curve == "stack" else curve
    z, own = units_of(volume, "z"), units_of(volume, axis)
    if (z == "1") != (own == "1"):
        return 1
    ratio = spacing_of(volume, "z") * conversion_factor(z, own) / spacing_of(volume, axis)
    return int(np.clip(round(ratio), 1, 8))


def _reach(volume: xr.DataArray, curve: Curve, scale: Length | None, base: int) -> tuple[int, int]:
    """Return how many rows and columns the local mean reaches.

    To compare z with an axis of the frame, both must be treated alike: the mean is then taken along the other axis.
    """
    length = _REACH * base * spacing_of(volume, "x")
    if scale is not None:
        length = parse_length(scale, unit=units_of(volume, "x"), spacing=spacing_of(volume, "x"), name="scale")
        if not np.isfinite(length) or length <= 0:
            raise ValueError(f"scale={scale!r} must be a positive length")
    rows, columns = (max(1, round(length / spacing_of(volume, dim))) for dim in ("y", "x"))
    return (0 if curve == "y" else rows, 0 if curve == "x" else columns)


def _windows(count: int, lags: int) -> np.ndarray:
    index = np.arange(count)
    return np.stack([index, np.minimum(index + lags + 1, count)], axis=1)


def _fine(frame: Any, reach: tuple[int, int], nodes: list[int]) -> dict[str, Any]:
    fine = kernels.decorrelation.detail(frame, *reach)
    return {"frame": fine, "within": kernels.decorrelation.within(fine, nodes)}


def _likeness(prepared: list[dict[str, Any]], lags: int) -> dict[str, np.ndarray]:
    between = np.full(lags, np.nan)
    for k, other in enumerate(prepared[1:]):
        between[k] = kernels.decorrelation.correlation(prepared[0]["frame"], other["frame"])
    return {"between": between, "within": prepared[0]["within"]}


def _log(correlation: np.ndarray) -> np.ndarray:
    # Comparisons with NaN are False.
    return np.where(correlation > _ALIKE, -np.log(np.where(correlation > _ALIKE, correlation, 1.0)), np.nan)


def _decorrelation(between: np.ndarray, good: np.ndarray) -> np.ndarray:
    r = _log(between)
    r[~good] = np.nan
    for k in range(r.shape[1]):
        bad = np.flatnonzero(~good) - 1 - k
        r[bad[bad >= 0], k] = np.nan
    return r


def _within_frames(within: np.ndarray, nodes: list[int], base: int, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return structure and noise of each slice.

    Noise adds the same at all distances, so structure is the difference of two; it changes slowly with content: the
    median of five slices. What is left at the shorter distance is noise.
    """
    near, far = (_log(within[:, :, nodes.index(lag)].mean(axis=1)) for lag in (base, 3 * base))
    near, far = np.where(good, near, np.nan), np.where(good, far, np.nan)
    slope = _median_of_five(far - near)
    usable = slope[np.isfinite(slope) & (slope > 0)]
    if usable.size == 0:
        return np.ones(len(within)), np.zeros(len(within))
    structure = np.clip(np.where(slope > 0, slope, np.median(usable)) / np.median(usable), 0.25, 4.0)
    left = near - structure * np.nanmedian(near / structure)
    return structure, np.where(np.isfinite(left), 0.5 * left, 0.0)


def _median_of_five(values: np.ndarray) -> np.ndarray:
    out = np.full(values.size, np.nan)
    for k in range(values.size):
        near = values[_grey.neighbours(5, k, values.size)]
        if np.isfinite(near).any():
            out[k] = np.nanmedian(near)
    return out


def _curve_of_frames(within: np.ndarray, nodes: list[int], noise: np.ndarray, good: np.ndarray, curve: Curve) -> Any:
    if curve == "stack":
        return None
    own = within[:, 0 if curve == "y" else 1] * np.exp(2 * noise)[:, np.newaxis]
    own = own[good & np.isfinite(own[:, 0])]
    if len(own) == 0:
        return None
    mean = np.nanmean(own[:, np.isfinite(own).any(axis=0)], axis=0)
    count = int(np.argmax(np.append(mean < 1.5 * _ALIKE, True)))
    values = -np.log(mean[:count])
    rising = np.concatenate([[True], np.diff(np.maximum.accumulate(values)) > 0])[:count]
    if np.count_nonzero(rising) < 3:
        return None
    return kernels.thickness.Curve(np.array(nodes, dtype=np.float64)[: mean.size][:count][rising], values[rising])


def _spacing(volume: xr.DataArray, curve: Curve, distance: Length | None) -> float:
    """Return the length of one unit of the solution: a pixel of the frame, or the mean distance of slices."""
    if curve != "stack":
        return spacing_of(volume, curve)
    z = volume["z"].values
    mean = (z[-1] - z[0]) / (z.size - 1) if z.size > 1 else spacing_of(volume, "z")
    if distance is None:
        return float(mean)
    length = parse_length(distance, unit=units_of(volume, "z"), spacing=float(mean), name="distance")
    if not np.isfinite(length) or length <= 0:
        raise ValueError(f"distance={distance!r} must be a positive length")
    return length


def _estimate(
    da: xr.DataArray,
    volume: xr.DataArray,
    solved: Any,
    structure: np.ndarray,
    noise: np.ndarray,
    *,
    curve: Curve,
    step: float,
    unit: str,
) -> xr.Dataset:
    z = volume["z"].values.astype(np.float64)
    count = z.size
    missing = np.full(count - 1, np.nan)
    first = float(z[0])
    if solved is None:
        warn(
            f"the distances of {counted(count, 'slice')} cannot be measured: too few of them resemble each other; the positions are those "
            "of the stack",
            UntiedSliceWarning,
        )
        tied, excess, error, distances, heights = (
            np.zeros(count, bool),
            np.zeros(count),
            missing,
            np.empty(0),
            np.empty(0),
        )
        steps, unit = np.diff(z), units_of(volume, "z")
    else:
        tied, excess = solved.tied, solved.excess
        steps, error = solved.increments * step, solved.error * step
        distances, heights = solved.curve.distances * step, solved.curve.values
        if not tied[valid_slices(volume)].all():
            alone = np.flatnonzero(~tied & valid_slices(volume))
            warn(
                f"{counted(alone.size, 'slice')} {'resembles' if alone.size == 1 else 'resemble'} no other (the first is "
                f"z {alone[0]}); spaced evenly",
                UntiedSliceWarning,
            )
        before = units_of(volume, "z")
        # A count of slices is no length: positions begin at 0 then.
        first *= conversion_factor(before, unit) if (before == "1") == (unit == "1") else 0.0
    length = {"units": unit}
    bad = noise + excess
    variables = {
        "position": ("z", first + np.concatenate([[0.0], np.cumsum(steps)]), {"long_name": "slice position", **length}),
        "increment": ("z", np.append(np.nan, steps), {"long_name": "distance from the slice before", **length}),
        "increment_error": ("z", np.append(np.nan, error), {"long_name": "standard error of the distance", **length}),
        "structure": ("z", structure, {"long_name": "decorrelation within the frame, relative", "units": "1"}),
        "noise": ("z", noise, {"long_name": "decorrelation by noise, relative", "units": "1"}),
        "excess": ("z", excess, {"long_name": "decorrelation beyond distance and noise", "units": "1"}),
        "quality": ("z", np.exp(-np.maximum(bad, 0.0)), {"long_name": "likeness to the neighbours", "units": "1"}),
        "measured": ("z", tied),
        "decorrelation": ("distance", heights, {"long_name": f"-log(correlation), by curve {curve!r}", "units": "1"}),
    }
    coords = {"distance": ("distance", distances, {"long_name": "distance between slices", **length})}
    return estimates.make("thickness", variables, da if "z" in da.coords else volume, coords=coords)
