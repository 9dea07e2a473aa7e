"""Measuring where each slice lies: the transforms of a stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d._provenance import estimator
from stack3d._warn import warn
from stack3d._words import counted
from stack3d.grid import Frame
from stack3d.model import DIMS, valid_slices
from stack3d.operations import _grey
from stack3d.operations._transform_blocks import check_blocks, displaced
from stack3d.operations._transform_channels import Channels, chosen, fused
from stack3d.operations._transform_frames import Treatment, compared
from stack3d.operations._transform_graph import graph
from stack3d.operations._transform_template import refined
from stack3d.operations._transform_ways import METHODS, MODELS, WAYS, Method, Model, Settings, Solved, Way, check_model
from stack3d.transforms import detrend, jumps
from stack3d.transforms._matrices import describe, in_frame, lengths
from stack3d.transforms._trend import Trend, check_trend
from stack3d.units import Length
from stack3d.windows import reduce_windows

# How far a slice looks that finds too few partners: times `lags`, and slices at least.
_REACH, _LEAST_REACH = 4, 8
_TEMPLATE_RADIUS = 7


class UntiedSliceWarning(UserWarning):
    """Most slices share too little with their neighbours to be placed."""


@estimator(version=4, needs=("z",))
def estimate_transforms(
    da: xr.DataArray,
    *,
    model: Model = "translation",
    method: Method = "phase",
    blocks: tuple[int, int] | None = None,
    regularization: float | None = None,
    target: Sequence[float] | None = None,
    channel: Channels | None = None,
    region: Mapping[str, Any] | None = None,
    mask: Any = None,
    threshold: float | None = None,
    gradient: bool = False,
    stripes: float | None = None,
    binning: int | None = None,
    band: tuple[float | None, float | None] = (None, None),
    lags: int = 3,
    detector: Literal["sift", "orb"] = "sift",
    template_radius: int | None = None,
    trend: Trend = "keep",
    trend_window: int | None = None,
    trend_degree: int | None = None,
    trend_slope: Length | tuple[Length, Length] | None = None,
    least_step: Length | tuple[Length, Length] | None = None,
) -> xr.Dataset:
    """Measure how each slice is displaced, from all pairs of near slices at once.

    Every slice is compared with the next ones, up to `lags` away, by the weighted phase of their spectra; all these
    displacements together give the position of every slice by robust least squares. Errors do not add up as they do
    in a chain of neighbours, a bad slice harms no other, and a jump stays sharp.

    Parameters
    ----------
    da : DataArray ([channel], z, y, x)
    model : {"translation", "rigid", "similarity", "x_scale_shift", "scale_shift", "affine", "regularized_affine"}
        What a slice may do: be displaced; turn too; turn and change its scale; change its scale along x; along x and
        along y; everything linear; the same, each pair drawn to `target`. ``"stackreg"`` has the first three and
        ``"affine"``.
    method : {"phase", "features", "stackreg", "template"}
        How two frames are compared: by the phase of their spectra; by matched features; by pystackreg (the extra
        ``stackreg``), some hundred times slower. ``"template"``: by phase, then, in a second pass, each slice with the
        running median of those around it (AMST), for content that changes slowly along z.
    blocks : (int, int), optional
        Rows and columns of a grid of overlapping blocks, each of which is displaced on its own, on top of `model`: for
        slices that are distorted. It takes a second pass, and is by phase whatever the method.
    regularization : float, optional
        For ``model="regularized_affine"``: strength of a ridge regression of the linear part of each pair, its normal
        equations divided by the number of points; a pair is drawn by ``strength / (1 + strength)`` of the way to
        `target`. By default 0.01.
    target : sequence of 4 float, optional
        For ``model="regularized_affine"``: entries (xx, xy, yx, yy) that pairs are drawn to; by default (1, 0, 0, 1).
    channel : str, dict or sequence of str, optional
        Channel that is measured; by default the first. Weights by name, such as ``{"SE": 0.7, "BSE": 0.3}``: the sum of
        these channels, each frame freed of its median and divided by its spread before. Several names, or ``"joint"``
        for all: each of them by itself, all their pairs in one solution, weighed by their errors.
    region : dict, optional
        Part of the frame that is used, such as ``dict(y=slice("1 um", "9 um"))``; add ``by="index"`` to count pixels.
    mask : bool array (y, x), optional
        True for pixels that are used, on the frame of the stack (not of `region`). Pixels that the stack itself marks
        as missing (NaN, its ``mask``) are never used.
    threshold : float, optional
        Compare flags, "not brighter than this", in place of grey values.
    gradient : bool
        Compare the size of the gradient, in place of grey values (after `threshold`, where both are given).
    stripes : float, optional
        Angle in degrees, counter-clockwise on screen from y, of stripes that stay with the frame and must not hold the
        estimate back: what varies across them alone is left out. Stripes along y and x (0, 90) are left out without
        this, as far as they are straight. For ``"phase"`` and ``"template"``.
    binning : int, optional
        Pixels averaged in each direction before frames are compared; by default what suits the size of the frame
        (1 for ``"stackreg"``). Results are in pixels of the stack in any case.
    band : (float or None, float or None)
        Lowest and highest spatial frequency used, in cycles per pixel; None for what suits the size of the frame. For
        ``"phase"`` and ``"template"``.
    lags : int
        Each slice is compared with this many following ones; one that finds too few partners among them looks up to
        four times as far (8 slices at least).
    detector : {"sift", "orb"}
        For ``method="features"``.
    template_radius : int, optional
        For ``method="template"``: slices on either side that make the median; by default 7.
    trend : {"keep", "linear", "polynomial", "savgol", "mean"}
        What of the displacement over z counts as structure of the specimen and is left in the images; ``"keep"``:
        nothing, the correction keeps it all. See `stack3d.transforms.detrend`.
    trend_window, trend_degree : int, optional
        Slices and degree of the trend: `window` and `degree` of `stack3d.transforms.detrend`.
    trend_slope : length or (length, length), optional
        A known line, for ``trend="linear"``: `slope` of `stack3d.transforms.detrend`.
    least_step : length or (length, length), optional
        Correct jumps alone: smaller steps from slice to slice count as structure that wanders; see
        `stack3d.transforms.jumps`.

    Returns
    -------
    Dataset
        An estimate of kind ``"transforms"``:

        - ``transform`` (z, row, col): the 3 x 3 pull matrix, in pixels of the frame: it maps the aligned position
          (x, y, 1) of a point to where it lies in the raw slice;
        - ``shift_y``, ``shift_x`` (z): how far the content of the raw slice lies from its aligned place at the centre
          of the frame, in the unit of the coordinates; ``rotation`` (z) in degrees, counter-clockwise on screen;
          ``scale``, ``scale_y``, ``scale_x`` and ``shear`` (z);
        - ``valid`` (z): False where no trusted pair ties the slice to others (blank, replaced by noise ...); its
          transform bridges its neighbours;
        - ``quality`` (z): share of the weight of its pairs that agrees with the whole, 0 to 1 (for ``"template"``
          correlation with the median); ``step_error`` (z): standard error of the step from the good slice before (for
          ``"template"``: of the place), in pixels;
        - the graph of pairs, ``pair_first``, ``pair_second``, ``pair_transform`` (pair, row, col): from (x, y, 1) in the
          first slice to the second, in pixels of the frame, ``pair_shift_y``, ``pair_shift_x``: the same at the centre
          of the frame, in pixels (NaN where refused), ``pair_quality`` (correlation, 0 to 1; share of the matches that
          agree for ``"features"``), ``pair_residual`` (by how much it misses the solution at the corners, rms in pixels)
          and ``pair_trust`` (0 to 1); of several channels also ``pair_channel``;
        - with `blocks`, ``displacement_y``, ``displacement_x`` (z, block_y, block_x): how much further the content lies
          at the centre of each block, in the unit of the coordinates; ``block_y`` and ``block_x`` are the places of the
          centres, ``block_valid`` says which were measured. Between them a cubic spline holds.

    Raises
    ------
    ValueError
        Naming the argument, its value and what is allowed.
    ImportError
        For ``method="stackreg"`` without pystackreg.

    Notes
    -----
    One pass: each frame is read and transformed once (``"template"``, `blocks`: one more each). The first good slice
    stays where it is, unless a trend is taken out.

    What images alone cannot tell is whether structure runs obliquely or the stack drifts.

    References
    ----------
    C. Knapp and G. Carter, IEEE Trans. Acoust. Speech Signal Process. 24, 320 (1976). doi:10.1109/TASSP.1976.1162830

    J. Hennies et al., Sci. Rep. 10, 2004 (2020), the template. doi:10.1038/s41598-020-58736-7

    Examples
    --------
    >>> drift = stack.stack3d.estimate_transforms()
    >>> drift["shift_x"].attrs["units"]
    'nm'
    """
    if model not in MODELS:
        raise ValueError(f"model={model!r} is not allowed; it must be one of {MODELS}")
    if method not in METHODS:
        raise ValueError(f"method={method!r} is not allowed; it must be one of {METHODS}")
    for name, number in (("lags", lags), ("binning", binning), ("template_radius", template_radius)):
        missing = number is None and name != "lags"
        if not missing and (isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1):
            raise ValueError(f"{name}={number!r} must be a whole number of at least 1")
    _check_for_method(method, stripes, band, detector, template_radius)
    _grey.check_flag(gradient, "gradient")
    if threshold is not None and not (isinstance(threshold, int | float | np.number) and np.isfinite(float(threshold))):
        raise ValueError(f"threshold={threshold!r} must be a finite grey value")
    check_trend(trend, trend_window, trend_degree, prefix="trend_")
    _check_lengths(da, trend, trend_slope, least_step)
    way = WAYS.get(("phase" if method == "template" else method, model))
    if way is None:
        raise ValueError(f"method={method!r} does not measure model={model!r}; method='phase' does")
    strength, drawn_to = check_model(model, stripes, regularization, target)
    grid_of_blocks = check_blocks(blocks)
    extra = [dim for dim in da.dims if dim not in DIMS]
    if extra:
        raise ValueError(f"the stack has dims {da.dims}; take one along {', '.join(map(repr, extra))} with da.isel")
    one, weight = compared(chosen(da, channel, method, threshold), region, mask)
    one = fused(one, channel)
    if grid_of_blocks is not None and "channel" in one.dims:
        raise ValueError(
            f"blocks={blocks!r} are measured on one image; with channel={channel!r} name one, or give weights"
        )
    treatment = Treatment(threshold, gradient, weight)
    spacing = Frame.of(one).spacing
    settings = Settings(
        (band[0], band[1]), binning, stripes, detector, model, spacing[0] / spacing[1], strength, drawn_to
    )
    valid = valid_slices(da)
    source, first, second, table, solved = _measured(one, way, treatment, settings, int(lags), valid)
    if method == "template":
        radius = _TEMPLATE_RADIUS if template_radius is None else int(template_radius)
        solved = refined(one, solved, way, treatment, settings, radius)
    dataset = _described(da, one, solved, valid)
    dataset = dataset.assign(graph(first, second, table, solved, Frame.of(one), Frame.of(da)))
    if "channel" in one.dims:
        dataset["pair_channel"] = ("pair", one["channel"].values[source])
    if grid_of_blocks is not None:
        dataset = dataset.assign(displaced(da, one, dataset, grid_of_blocks, treatment, settings))
    if least_step is not None:
        dataset = jumps(dataset, least_step)
    if trend != "keep":
        dataset = detrend(dataset, trend, window=trend_window, degree=trend_degree, slope=trend_slope)
    return dataset


def _check_lengths(da: xr.DataArray, trend: str, slope: Any, least: Any) -> None:
    frame = Frame.of(da)
    if slope is not None:
        if trend != "linear":
            raise ValueError(f"trend_slope={slope!r} needs trend='linear', not {trend!r}")
        lengths(slope, "trend_slope", frame.units, frame.spacing)
    if least is not None:
        lengths(least, "least_step", frame.units, frame.spacing)


def _check_for_method(method: str, stripes: Any, band: Any, detector: Any, template_radius: Any) -> None:
    if not isinstance(band, tuple | list) or len(band) != 2:
        raise ValueError(f"band={band!r} must be (low, high) in cycles per pixel, each a number or None")
    if detector not in ("sift", "orb"):
        raise ValueError(f"detector={detector!r} is not allowed; it must be 'sift' or 'orb'")
    if stripes is not None and not (isinstance(stripes, int | float | np.number) and np.isfinite(float(stripes))):
        raise ValueError(f"stripes={stripes!r} must be an angle in degrees")
    for name, value, default, methods in (
        ("stripes", stripes, None, ("phase", "template")),
        ("band", tuple(band), (None, None), ("phase", "template")),
        ("detector", detector, "sift", ("features",)),
        ("template_radius", template_radius, None, ("template",)),
    ):
        if value != default and method not in methods:
            raise ValueError(f"{name}={value!r} has a meaning only for method={' or '.join(map(repr, methods))}")


def _measured(
    one: xr.DataArray, way: Way, treatment: Treatment, settings: Settings, lags: int, valid: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Solved]:
    """Compare all pairs in one pass and solve for the stack.

    Returns the number of the channel and of the slices of each pair, table, solution.
    """
    count, shape = one.sizes["z"], (one.sizes["y"], one.sizes["x"])
    plan = way.plan(shape, settings)
    reach = max(min(max(_REACH * lags, _LEAST_REACH), count - 1), 1)
    index = np.arange(count)
    windows = np.stack([index, np.minimum(index + reach + 1, count)], axis=1)
    table = reduce_windows(
        one,
        _pairs_of,
        windows,
        prepare=_prepared,
        prepare_arguments={"prepare": way.prepare, "treatment": treatment, "plan": plan},
        arguments={"pair": way.pair, "plan": plan, "lags": lags, "reach": reach, "width": len(way.parameters) + 2},
        per_output={"valid": [valid[start:stop] for start, stop in windows]},
        label="estimate transforms",
    )["pairs"]
    # The last column of a pair that was not tried is NaN.
    table = table.reshape(-1, *table.shape[-3:])
    source, first, lag = np.nonzero(~np.isnan(table[..., -1]))
    table = table[source, first, lag]
    second = first + lag + 1
    # Slices that were marked bad before have no say.
    weight = np.where(valid[first] & valid[second], table[:, -1], 0.0)
    return source, first, second, table, way.solve(first, second, table[:, :-2], weight, count, shape, settings)


def _prepared(frame: Any, prepare: Any, treatment: Treatment, plan: Any) -> Any:
    return prepare(treatment.pixels(frame), treatment.weight, plan)


def _pairs_of(
    prepared: list[Any], valid: np.ndarray, pair: Any, plan: Any, lags: int, reach: int, width: int
) -> dict[str, np.ndarray]:
    """Compare the first slice of a window with the others: (reach, width), a row of NaN where that was not needed.

    All of the first `lags` are tried. Where too few of them are any good, further ones are, until enough are.
    """
    table = np.full((reach, width), np.nan)
    partners, enough = 0, (lags + 1) // 2
    for lag in range(1, len(prepared)):
        if lag > lags and (partners >= enough or not valid[0]):
            break
        found = pair(prepared[0], prepared[lag], plan)
        refused = not found[-1] > 0
        table[lag - 1] = found
        if refused:
            table[lag - 1, :-2] = np.nan
            table[lag - 1, -2:] = 0.0
        elif valid[lag]:
            partners += 1
    return {"pairs": table}


def _described(da: xr.DataArray, one: xr.DataArray, solved: Solved, valid: np.ndarray) -> xr.Dataset:
    # A stack of one slice has no pairs and nothing wrong with it.
    ok = solved.ok & valid if len(valid) > 1 else valid
    lost = int(np.sum(valid & ~ok))
    if lost > 0.5 * max(1, int(valid.sum())):
        warn(
            f"{lost} of {counted(int(valid.sum()), 'slice')} could not be tied to any other, marked valid=False and left "
            "in place. Is there structure that neighbouring slices share? A lower `band` or a `region` may help",
            UntiedSliceWarning,
        )
    dataset = describe(da, in_frame(solved.matrices, Frame.of(one), Frame.of(da)), ok)
    dataset["quality"] = ("z", solved.quality, {"long_name": "trusted share of the pairs"})
    dataset["step_error"] = (
        "z",
        solved.error,
        {"long_name": "error of the step from the slice before", "units": "pixel"},
    )
    return dataset
