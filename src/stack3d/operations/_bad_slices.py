"""Slices that were spoilt: found by comparison with their neighbours, and replaced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d import estimates, kernels
from stack3d._provenance import estimator, operation
from stack3d._warn import warn
from stack3d.model import rebuild, valid_slices
from stack3d.operations import _grey, _slice_marks
from stack3d.operations._along_z import Weights, nearest_of, windows_of
from stack3d.operations._missing import rounded
from stack3d.windows import map_windows

KINDS = ("blank", "duplicated", "charged", "blurred", "shifted")
_LABEL = "replace slices"


@estimator(version=3, needs=("z",))
def find_bad_slices(
    da: xr.DataArray,
    *,
    kinds: Sequence[str] = KINDS,
    deviations: float = 6.0,
    region: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Find slices that do not belong: blank, charged, blurred, shifted or duplicated.

    Each slice is compared with the median of the 31 around it. It is bad where a measure is off by more than
    `deviations` robust standard deviations (1.4826 MAD over the stack), and by more than good slices ever are. One pass. With fewer
    than 5 good slices nothing is usual, and only blank ones are found.

    Parameters
    ----------
    da : DataArray (..., z, y, x)
        Drift from slice to slice is allowed for as far as neighbours still resemble each other.
    kinds : sequence of {"blank", "duplicated", "charged", "blurred", "shifted"}
        What is looked for; one may be given by its name alone. A slice of several kinds is given the first of these:

        - ``"blank"``: nothing measured, no contrast, or no structure above the noise;
        - ``"duplicated"``: the same as the slice before;
        - ``"charged"``: much brighter or darker as a whole, or in parts;
        - ``"blurred"``: fine structure is missing;
        - ``"shifted"``: unlike the slices on both sides, though none of these.
    deviations : float
        Lower finds more.
    region : dict, optional
        Part of the frame that is looked at, such as ``dict(y=slice(0, 500))``; add ``by="index"`` to count pixels.

    Returns
    -------
    Dataset
        Kind ``"bad_slices"``: ``reason`` (..., z), one of the kinds, or ``""``; ``valid`` (z), False where a slice is bad
        in any channel or was marked bad before; ``value`` and ``score`` (..., z, measure), how far each measure is from
        usual, in its own unit and in robust standard deviations (of sharpness at most 1.5 times the standard errors
        that the noise of the slice makes). Measures: ``level`` (mean, in standard deviations of the
        frame), ``unevenness`` (log of the spread of brightness over the frame), ``shading`` (brightness over the frame
        that its neighbours lack, in standard deviations), ``structure`` (relative, above the noise), ``sharpness`` (log
        of the ratio of fine to coarse structure), ``likeness`` (correlation with the second best of the four nearest,
        relative) and ``novelty`` (log of ``1 - correlation`` with the slice before).

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.

    Examples
    --------
    >>> spoilt = stack.copy(deep=True)
    >>> spoilt[3] = 0
    >>> found = spoilt.stack3d.find_bad_slices()
    >>> found["reason"].values.tolist()
    ['', '', '', 'blank', '', '', '', '']
    """
    _grey.check_numbers(da, "find_bad_slices")
    wanted = [kinds] if isinstance(kinds, str) else list(kinds) if isinstance(kinds, Iterable) else []
    if not wanted or any(kind not in KINDS for kind in wanted):
        raise ValueError(f"kinds={kinds!r} must be among {', '.join(map(repr, KINDS))}")
    _grey.check_positive(deviations, "deviations")
    marked = valid_slices(da)
    scores = _slice_marks.scored(_slice_marks.measured(_grey.measured(da, region)), marked)
    reason = _reasons(scores, wanted, float(deviations))
    lead = da.dims[:-2]
    bad = (reason != "").reshape(-1, reason.shape[-1]) if lead[-1] == "z" else None
    if bad is None:
        bad = np.moveaxis(reason != "", lead.index("z"), -1).reshape(-1, da.sizes["z"])
    variables = {
        "reason": (lead, reason, {"long_name": "what is wrong with the slice"}),
        "value": ((*lead, "measure"), scores.value, {"long_name": "difference from the usual", "units": "1"}),
        "score": ((*lead, "measure"), scores.score, {"long_name": "robust standard deviations from the usual"}),
        "valid": ("z", marked & ~bad.any(axis=0)),
    }
    return estimates.make("bad_slices", variables, da, coords={"measure": list(_slice_marks.MEASURES)})


def _check_method(method: Any) -> None:
    """Raise for what `replace_slices` refuses, before slices are looked at."""
    if method not in ("linear", "nearest", "flag"):
        raise ValueError(f"method={method!r} is not allowed; it must be 'linear', 'nearest' or 'flag'")


@operation(version=3, needs=("z",), estimator=find_bad_slices, check=_check_method)
def replace_slices(
    da: xr.DataArray,
    *,
    estimate: xr.Dataset | None = None,
    kinds: Sequence[str] = KINDS,
    deviations: float = 6.0,
    region: Mapping[str, Any] | None = None,
    method: Literal["linear", "nearest", "flag"] = "linear",
) -> xr.DataArray:
    """Replace bad slices by what the good ones on both sides show, or only mark them.

    Parameters
    ----------
    da : DataArray (..., z, y, x)
    estimate : Dataset, optional
        From `find_bad_slices`, made here from the next parameters if not given. Its ``valid`` may be edited: where it is
        False, a slice is replaced, in all channels.
    kinds, deviations, region
        How bad slices are found; see `find_bad_slices`.
    method : {"linear", "nearest", "flag"}
        Between the nearest good slices on both sides, at their true positions; the nearest good slice; or leave pixels as
        they are. Beyond the last good slice, linear is nearest too.

    Returns
    -------
    DataArray
        Of the dtype of `da`, rounded; lazy where `da` is. The coordinate ``valid`` is False for every bad slice, replaced or
        not, so that measures and estimates leave it out; ``replaced`` is True where pixels were replaced. Pixels
        missing (NaN, or False in ``mask``) in one of two slices are taken from the other, and ``mask`` is True there.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.

    Warns
    -----
    BlankSliceWarning
        When no slice is good, and nothing is replaced.

    Notes
    -----
    In a stack that is not registered, the mean of two slices that are displaced is blurred: register first, which leaves
    bad slices out, and replace then.

    Examples
    --------
    >>> spoilt = stack.copy(deep=True)
    >>> spoilt[3] = 0
    >>> whole = spoilt.stack3d.replace_slices()
    >>> np.flatnonzero(whole["replaced"]).tolist(), np.flatnonzero(~whole["valid"]).tolist()
    ([3], [3])
    """
    _check_method(method)
    found = _grey.fitted(estimate, da, "bad_slices")
    good = np.asarray(found["valid"].values, dtype=bool) & valid_slices(da)
    attrs = dict(da["valid"].attrs) if "valid" in da.coords else {"long_name": "the slice is good"}
    coords: dict[str, Any] = {"valid": ("z", good, attrs)}
    replaced = np.zeros(good.size, bool) if method == "flag" or not good.any() else ~good
    if "replaced" in da.coords:
        before = np.asarray(da["replaced"].values, dtype=bool)
        coords["replaced"] = ("z", replaced | before)
    else:
        coords["replaced"] = ("z", replaced)
    coords["replaced"] = (*coords["replaced"], {"long_name": "pixels were replaced by those of other slices"})
    if not good.any():
        warn("no slice is good, so none is replaced; see the coordinate 'valid'", _grey.BlankSliceWarning)
    if not replaced.any():
        return rebuild(da, da.data, coords)
    weights = _weights(da, good, method)
    if "mask" not in da.coords or "z" not in da["mask"].dims:
        return rebuild(da, _mixed(da, weights), coords)
    data, coords["mask"] = _mixed_where_measured(da, weights)
    return rebuild(da, data, coords)


def _mixed(da: xr.DataArray, weights: Weights) -> Any:
    return map_windows(
        da,
        _blended,
        windows_of(weights),
        arguments={"dtype": da.dtype},
        per_output={"weights": [values for _, values in weights]},
        dtype=da.dtype,
        label=_LABEL,
    )


def _mixed_where_measured(da: xr.DataArray, weights: Weights) -> tuple[Any, xr.Variable]:
    """Return the slices from measured pixels alone, and where there was one; elsewhere the nearest keeps its value."""
    whole = da.astype(kernels.cast.working_dtype(da.dtype, da.dtype))
    mixed = xr.Variable(da.dims, _mixed(whole.where(da["mask"]).transpose(*da.dims), weights))
    used = [start + np.flatnonzero(values) for start, values in weights]
    mask = da["mask"].variable
    measured = mask.isel(z=[places[0] for places in used]) | mask.isel(z=[places[-1] for places in used])
    joined = mixed.where(measured, whole.variable.isel(z=nearest_of(weights))).transpose(*da.dims)
    return rounded(xr.DataArray(joined), da.dtype, _LABEL), xr.Variable(measured.dims, measured.data, mask.attrs)


def _weights(da: xr.DataArray, good: np.ndarray, method: str) -> Weights:
    """Return the first slice of the window of each slice, and how much those in it count."""
    z = da["z"].values.astype(np.float64) if "z" in da.coords else np.arange(good.size, dtype=np.float64)
    kept = np.flatnonzero(good)
    by = kernels.zweights.linear_weights if method == "linear" else kernels.zweights.nearest_weights
    out: list[tuple[int, np.ndarray]] = []
    for k in range(good.size):
        if good[k]:
            out.append((k, np.ones(1)))
            continue
        start, parts = by(z[kept], z[k : k + 1])[0]
        used = kept[start : start + len(parts)]
        weights = np.zeros(used[-1] - used[0] + 1)
        weights[used - used[0]] = parts
        out.append((int(used[0]), weights))
    return out


def _blended(frames: list[Any], weights: np.ndarray, dtype: Any) -> tuple[Any, int]:
    return kernels.blend.blend_frames(frames, weights, dtype, missing="all")


def _reasons(scores: _slice_marks.Scores, kinds: Sequence[str], deviations: float) -> np.ndarray:
    value, score = (
        {name: table[..., k] for k, name in enumerate(_slice_marks.MEASURES)} for table in (scores.value, scores.score)
    )

    def off(name: str, least: float) -> np.ndarray:
        """Below the usual, or above it for a positive `least`: significantly, and by that much."""
        sign = np.sign(least)
        with np.errstate(invalid="ignore"):
            return np.asarray((sign * value[name] > abs(least)) & (sign * score[name] > deviations))

    # A slice elsewhere in the specimen has another shading too.
    glowing, unlike = off("shading", 0.15), off("likeness", -0.4)
    # How much is more than good slices ever are off: beyond any step of gain or offset that levelling takes back, ...
    rules = {
        "blank": scores.blank | off("structure", -0.7),
        "duplicated": value["novelty"] < np.log(0.03),
        "charged": off("level", 1.0) | off("level", -1.0) | off("unevenness", np.log(2.0)) | (glowing & ~unlike),
        "blurred": off("sharpness", np.log(0.65)),
        "shifted": unlike,
    }
    reason = np.full(scores.blank.shape, "", dtype="<U10")
    for kind in reversed(KINDS):
        if kind in kinds:
            reason[rules[kind]] = kind
    return reason
