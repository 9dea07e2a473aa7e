"""How channels of one stack lie to each other: detectors that see the same place a little displaced."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr

from stack3d import estimates, kernels
from stack3d._provenance import estimator
from stack3d._warn import warn
from stack3d.grid import Frame
from stack3d.model import DIMS, valid_slices
from stack3d.operations._transform_frames import Treatment, compared
from stack3d.transforms._matrices import in_frame, with_parameters
from stack3d.windows import reduce_windows

Model = Literal["translation", "rigid", "similarity", "x_scale_shift", "scale_shift", "affine"]
Contrast = Literal["auto", "same", "inverted", "gradient"]
MODELS = ("translation", "rigid", "similarity", "x_scale_shift", "scale_shift", "affine")
_CONTRASTS = ("same", "inverted", "gradient")


class UntiedChannelWarning(UserWarning):
    """A channel shares too little with the others to be placed."""


class _Plan(NamedTuple):
    model: str
    plan: Any


@estimator(version=3)
def estimate_channel_offset(
    da: xr.DataArray,
    *,
    reference: str | None = None,
    model: Model = "translation",
    contrast: Contrast = "auto",
    slices: int = 64,
    region: Mapping[str, Any] | None = None,
    mask: Any = None,
    binning: int | None = None,
    band: tuple[float | None, float | None] = (None, None),
) -> xr.Dataset:
    """Measure how channels lie to each other: one transform a channel, from many slices.

    In each of some slices spread over the stack, every two channels are compared as two slices are by
    `estimate_transforms`; all these pairs together give one transform a channel by robust least squares. Detectors may
    see the specimen with opposite contrast.

    Parameters
    ----------
    da : DataArray (channel, [z], y, x)
    reference : str, optional
        Channel that stays in its place; by default the first.
    model : {"translation", "rigid", "similarity", "x_scale_shift", "scale_shift", "affine"}
        What a channel may do, see `estimate_transforms`.
    contrast : {"auto", "same", "inverted", "gradient"}
        What is bright in one channel is bright in the others, or dark; ``"gradient"``: edges lie at the same places, where
        neither holds. ``"auto"``: for every two channels, what tells more, and the gradient only where the others tell
        less than half of the slices.
    slices : int
        At most this many good slices are compared, spread evenly.
    region, mask, binning, band
        See `estimate_transforms`.

    Returns
    -------
    Dataset
        An estimate of kind ``"channel_offset"``:

        - ``transform`` (channel, row, col): the 3 x 3 pull matrix, as for `estimate_transforms`; that of the reference is
          the identity;
        - ``shift_y``, ``shift_x`` (channel): how far the content of the channel lies from its place at the centre of the
          frame, in the unit of the coordinates; ``rotation``, ``scale``, ``scale_y``, ``scale_x`` and ``shear``;
        - ``valid`` (channel): False where nothing ties a channel to the reference; it stays where it is;
        - ``scatter`` (channel): rms difference of the single slices from it, along one axis at the centre of the frame, in
          pixels; ``used`` (channel): pairs that agree;
        - ``contrast`` (channel): to the reference, as used.

    Raises
    ------
    ValueError
        Naming the argument, its value and what is allowed; when the stack has fewer than two channels.

    Examples
    --------
    >>> both = xr.concat([stack, (65535 - stack).roll(x=2)], xr.Variable("channel", ["SE", "BSE"]))
    >>> offset = both.stack3d.estimate_channel_offset()
    >>> float(offset.shift_x.sel(channel="BSE").round()), str(offset.contrast[1].values)
    (10.0, 'inverted')
    """
    number = _checked(da, reference, model, contrast, slices, binning, band)
    full = da if "z" in da.dims else da.expand_dims("z", axis=1)
    good = np.flatnonzero(valid_slices(full))
    if good.size == 0:
        raise ValueError("no slice is valid, so there is nothing to compare")
    picked = good[np.unique(np.rint(np.linspace(0, good.size - 1, min(good.size, int(slices)))).astype(int))]
    part, weight = compared(full.isel(z=picked), region, mask)
    ways = _CONTRASTS if contrast == "auto" else (contrast,)
    tables = _compared(part, weight, model, ways, binning, band)
    count = da.sizes["channel"]
    pairs = list(combinations(range(count), 2))
    centre = ((part.sizes["x"] - 1) / 2, (part.sizes["y"] - 1) / 2)
    kept = [_best_way(tables[:, k], model, centre, len(ways)) for k in range(len(pairs))]
    first, second = (np.repeat([pair[side] for pair in pairs], len(picked)) for side in (0, 1))
    table = np.concatenate([tables[:, k, way] for k, way in enumerate(kept)])
    matrices, trust, ok = _solved(first, second, table, count, model, centre)
    anchor = matrices[number].copy()
    ok &= ok[number]
    matrices = matrices @ np.linalg.inv(anchor)
    matrices[~ok | (np.arange(count) == number)] = np.eye(3)
    matrices[:, 2] = (0.0, 0.0, 1.0)
    if model == "translation":
        matrices[:, :2, :2] = np.eye(2)
    seen = {pair: ways[way] for pair, way in zip(pairs, kept, strict=True)}
    facts = {
        "contrast": ["same" if k == number else seen[min(k, number), max(k, number)] for k in range(count)],
        **_scatter(first, second, table, trust, matrices, model, centre),
    }
    return _described(da, part, matrices, ok, facts)


def _checked(da: xr.DataArray, reference: Any, model: Any, contrast: Any, slices: Any, binning: Any, band: Any) -> int:
    """Return the number of the reference, after all that could be wrong was looked at."""
    extra = [dim for dim in da.dims if dim not in DIMS]
    if extra:
        raise ValueError(f"the stack has dims {da.dims}; take one along {', '.join(map(repr, extra))} with da.isel")
    if da.sizes.get("channel", 1) < 2:
        raise ValueError(f"the stack has dims {da.dims} and sizes {dict(da.sizes)}; two channels at least are needed")
    names = [str(name) for name in da["channel"].values] if "channel" in da.coords else []
    if reference is not None and reference not in names:
        raise ValueError(f"reference={reference!r} is not allowed; the stack has {names or 'channels without names'}")
    if model not in MODELS:
        raise ValueError(f"model={model!r} is not allowed; it must be one of {MODELS}")
    if contrast not in ("auto", *_CONTRASTS):
        raise ValueError(f"contrast={contrast!r} is not allowed; it must be one of {('auto', *_CONTRASTS)}")
    for name, value in (("slices", slices), ("binning", binning)):
        missing = value is None and name == "binning"
        if not missing and (isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1):
            raise ValueError(f"{name}={value!r} must be a whole number of at least 1")
    if not isinstance(band, tuple | list) or len(band) != 2:
        raise ValueError(f"band={band!r} must be (low, high) in cycles per pixel, each a number or None")
    return 0 if reference is None else names.index(reference)


def _compared(
    part: xr.DataArray, weight: np.ndarray | None, model: str, ways: tuple[str, ...], binning: Any, band: Any
) -> np.ndarray:
    """Compare every two channels in every slice: (slices, pairs, ways, [matrix entries (6), weight])."""
    shape = (part.sizes["y"], part.sizes["x"])
    options = {"binning": binning, "band": tuple(band)}
    if model == "translation":
        # what fades out stays with the frame
        direct = False if weight is not None else None
        plan = _Plan(model, kernels.phase.plan(shape, direct=direct, **options))
    else:
        plan = _Plan(model, kernels.affine.plan(shape, model, **options))
    frames = part.transpose("z", "channel", "y", "x")
    # Channels take the place of neighbouring slices.
    bare = xr.DataArray(frames.data, dims=("slice", "z", "y", "x"))
    tables = reduce_windows(
        bare,
        _pairs_of,
        np.array([[0, bare.sizes["z"]]]),
        prepare=_prepared,
        prepare_arguments={"plan": plan, "weight": weight, "ways": ways},
        arguments={"plan": plan, "ways": ways},
        label="estimate channel offset",
    )["pairs"]
    return tables[:, 0]


def _prepared(frame: Any, plan: _Plan, weight: np.ndarray | None, ways: tuple[str, ...]) -> dict[str, Any]:
    from stack3d.operations._transform_ways import weighed

    out = {}
    for gradient in (False, True):
        if not (("gradient" in ways) if gradient else set(ways) & {"same", "inverted"}):
            continue
        pixels = Treatment(None, gradient, weight).pixels(frame)
        pixels = pixels if weight is None else weighed(pixels, weight)
        make = kernels.phase.spectrum if plan.model == "translation" else kernels.affine.prepare
        out["gradient" if gradient else "same"] = make(pixels, plan.plan)
    return out


def _pairs_of(prepared: list[dict[str, Any]], plan: _Plan, ways: tuple[str, ...]) -> dict[str, np.ndarray]:
    rows = []
    for one, other in combinations(prepared, 2):
        for way in ways:
            key = "same" if way == "inverted" else way
            second = _negative(other[key]) if way == "inverted" else other[key]
            rows.append(_pair(one[key], second, plan))
    return {"pairs": np.array(rows).reshape(-1, len(ways), 7)}


def _pair(first: Any, second: Any, plan: _Plan) -> np.ndarray:
    if plan.model == "translation":
        found = kernels.phase.pair_shift(first, second, plan.plan)
        return np.array([1.0, 0.0, found.dx, 0.0, 1.0, found.dy, found.extra.weight])
    pair = kernels.affine.pair(first, second, plan.plan)
    return np.append(pair.matrix[:2].ravel(), pair.weight)


def _negative(prepared: Any) -> Any:
    """Return what is kept of a frame with the opposite contrast."""
    if isinstance(prepared, kernels.phase.Spectrum):
        small = prepared.small and prepared.small.negative()
        return prepared._replace(coefficients=-prepared.coefficients, small=small)
    return prepared._replace(
        spectrum=_negative(prepared.spectrum),
        inner=_negative(prepared.inner),
        residual=-prepared.residual,
        images=tuple(-image for image in prepared.images),
    )


def _solved(
    first: np.ndarray, second: np.ndarray, table: np.ndarray, count: int, model: str, centre: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the matrix of each channel, how far each pair is trusted, and which channels are tied."""
    if model == "translation":
        solution = kernels.solve.positions(first, second, table[:, [2, 5]], table[:, 6], count)
        matrices = np.tile(np.eye(3), (count, 1, 1))
        matrices[:, :2, 2] = solution.positions
        return matrices, solution.trust, solution.ok
    full = np.tile(np.eye(3), (len(table), 1, 1))
    full[:, :2] = table[:, :6].reshape(-1, 2, 3)
    poses = kernels.solve.poses(first, second, full, table[:, 6], count, centre, model=model)
    return poses.matrices, poses.trust, poses.ok


def _best_way(tables: np.ndarray, model: str, centre: tuple[float, float], ways: int) -> int:
    """Return which contrast tells most of two channels: tables (slices, ways, ...)."""
    if ways == 1:
        return 0
    told, number = np.zeros(ways), np.zeros(ways)
    zeros, ones = np.zeros(len(tables), int), np.ones(len(tables), int)
    for way in range(ways):
        table = tables[:, way]
        _, trust, ok = _solved(zeros, ones, table, 2, model, centre)
        trusted = np.where((table[:, 6] > 0) & ok.all(), trust, 0.0)
        told[way], number[way] = float(np.sum(trusted * table[:, 6])), float(np.sum(trusted > 0.2))
    best = int(np.argmax(told[:2]))
    return 2 if number[best] < len(tables) / 2 and number[2] > number[best] else best


def _scatter(
    first: np.ndarray,
    second: np.ndarray,
    table: np.ndarray,
    trust: np.ndarray,
    matrices: np.ndarray,
    model: str,
    centre: tuple[float, float],
) -> dict[str, list[Any]]:
    """Return, for each channel, how much its pairs differ from the whole, and how many are used."""
    point = np.array([*centre, 1.0])
    back = np.linalg.solve(matrices[first], np.broadcast_to(point[:, None], (len(first), 3, 1)))
    expected = (matrices[second] @ back)[:, :2, 0]
    missed = np.mean((table[:, :6].reshape(-1, 2, 3) @ point - expected) ** 2, axis=1)
    used = (table[:, 6] > 0) & (trust > 0.2)
    scatter, number = [], []
    for k in range(len(matrices)):
        mine = used & ((first == k) | (second == k))
        number.append(int(mine.sum()))
        scatter.append(float(np.sqrt(missed[mine].mean())) if mine.any() else float("nan"))
    return {"scatter": scatter, "used": number}


def _described(
    da: xr.DataArray, part: xr.DataArray, matrices: np.ndarray, ok: np.ndarray, facts: dict[str, Any]
) -> xr.Dataset:
    lost = [str(name) for name in np.arange(len(ok))[~ok]]
    if "channel" in da.coords:
        lost = [str(name) for name in da["channel"].values[~ok]]
    if lost:
        warn(
            f"channels {', '.join(lost)} could not be tied to the reference; they are marked valid=False and stay where they "
            "are. Is there structure that channels share? A lower `band`, a `region` or another `contrast` may help",
            UntiedChannelWarning,
        )
    matrices = in_frame(matrices, Frame.of(part), Frame.of(da))
    variables = {"transform": (("channel", "row", "col"), matrices), "valid": ("channel", ok)}
    variables.update({name: ("channel", np.array(values)) for name, values in facts.items()})
    dataset = estimates.make("channel_offset", variables, da, coords={"row": [0, 1, 2], "col": [0, 1, 2]})
    dataset["transform"].attrs = {"long_name": "pull matrix, aligned (x, y, 1) to raw, in pixels"}
    dataset["scatter"].attrs = {"long_name": "rms difference of single slices", "units": "pixel"}
    return with_parameters(dataset, Frame.of(da), dim="channel")
