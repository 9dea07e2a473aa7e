"""Measuring where each slice lies: the transforms of a stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d import estimates, kernels
from stack3d._provenance import estimator
from stack3d._region import region as in_region
from stack3d._warn import warn
from stack3d.grid import Frame
from stack3d.model import DIMS, one_channel, valid_slices
from stack3d.windows import reduce_windows

Model = Literal["translation"]
_MODELS = ("translation",)


class UntiedSliceWarning(UserWarning):
    """Most slices share too little with their neighbours to be placed."""


@estimator(version=1, needs=("z",))
def estimate_transforms(
    da: xr.DataArray,
    *,
    model: Model = "translation",
    channel: str | None = None,
    region: Mapping[str, Any] | None = None,
    lags: int = 3,
    band: tuple[float | None, float | None] = (None, None),
) -> xr.Dataset:
    """Measure how each slice is displaced, from all pairs of near slices at once.

    Every slice is compared with the next ones, up to `lags` away, by the weighted phase of their spectra; all these
    displacements together give the position of every slice by robust least squares. Errors do not add up as they do
    in a chain of neighbours, a bad slice harms no other, and a jump stays sharp.

    Parameters
    ----------
    da : DataArray ([channel], z, y, x)
    model : {"translation"}
        What a slice may do.
    channel : str, optional
        Channel that is measured; by default the first.
    region : dict, optional
        Part of the frame that is used, such as ``dict(y=slice("1 um", "9 um"))``; add ``by="index"`` to count pixels.
    lags : int
        Each slice is compared with this many following ones.
    band : (float or None, float or None)
        Lowest and highest spatial frequency used, in cycles per pixel; None for what suits the size of the frame.

    Returns
    -------
    Dataset
        An estimate of kind ``"transforms"``:

        - ``transform`` (z, row, col): the 3 x 3 pull matrix, in pixels of the frame: it maps the aligned position
          (x, y, 1) of a point to where it lies in the raw slice;
        - ``shift_y``, ``shift_x`` (z): how far the content of the raw slice lies from its aligned place at the centre
          of the frame, in the unit of the coordinates; ``rotation`` (z) in degrees, counter-clockwise on screen;
          ``scale`` (z);
        - ``valid`` (z): False where no trusted pair ties the slice to others (blank, replaced by noise ...); its
          transform bridges its neighbours;
        - ``quality`` (z): share of the weight of its pairs that agrees with the whole, 0 to 1; ``step_error`` (z):
          standard error of the step from the good slice before, in pixels;
        - the graph of pairs, ``pair_first``, ``pair_second``, ``pair_shift_y``, ``pair_shift_x`` (pixels; NaN where
          refused), ``pair_quality`` (correlation, 0 to 1) and ``pair_trust`` (0 to 1).

    Notes
    -----
    One pass: each frame is read and transformed once. The first good slice stays where it is.

    What images alone cannot tell is whether structure runs obliquely or the stack drifts.

    References
    ----------
    C. Knapp and G. Carter, IEEE Trans. Acoust. Speech Signal Process. 24, 320 (1976). doi:10.1109/TASSP.1976.1162830

    Examples
    --------
    >>> drift = stack.stack3d.estimate_transforms()
    >>> drift["shift_x"].attrs["units"]
    'nm'
    """
    extra = [dim for dim in da.dims if dim not in DIMS]
    if extra:
        raise ValueError(f"the stack has dims {da.dims}; take one along {', '.join(map(repr, extra))} with da.isel")
    if model not in _MODELS:
        raise ValueError(f"model={model!r} is not allowed; it must be one of {_MODELS}")
    if isinstance(lags, bool) or not isinstance(lags, int | np.integer) or lags < 1:
        raise ValueError(f"lags={lags!r} must be a whole number of at least 1")
    if not isinstance(band, tuple | list) or len(band) != 2:
        raise ValueError(f"band={band!r} must be (low, high) in cycles per pixel, each a number or None")
    one = in_region(one_channel(da, channel), region)
    count = one.sizes["z"]
    plan = kernels.phase.plan(one.shape[-2:], band=band)
    index = np.arange(count)
    windows = np.stack([index, np.minimum(index + lags + 1, count)], axis=1)
    found = reduce_windows(
        one,
        _pairs_of,
        windows,
        prepare=_spectrum,
        prepare_arguments={"plan": plan},
        arguments={"plan": plan, "lags": int(lags)},
        label="estimate transforms",
    )
    return _solved(da, found["pairs"], valid_slices(da))


def _spectrum(frame: np.ndarray, plan: Any) -> Any:
    return kernels.phase.spectrum(frame, plan)


def _pairs_of(spectra: list[Any], plan: Any, lags: int) -> dict[str, np.ndarray]:
    """Compare the first slice of a window with the others: (lags, [dy, dx, quality, weight])."""
    table = np.full((lags, 4), np.nan)
    table[:, 2:] = 0.0
    for lag in range(1, len(spectra)):
        pair = kernels.phase.pair_shift(spectra[0], spectra[lag], plan)
        if pair.extra.weight > 0:
            table[lag - 1] = pair.dy, pair.dx, pair.quality, pair.extra.weight
    return {"pairs": table}


def _solved(da: xr.DataArray, table: np.ndarray, valid: np.ndarray) -> xr.Dataset:
    count, lags = table.shape[:2]
    first, lag = np.meshgrid(np.arange(count), np.arange(1, lags + 1), indexing="ij")
    inside = first + lag < count
    first, second, table = first[inside], (first + lag)[inside], table[inside]
    # Slices that were marked bad before have no say.
    weight = np.where(valid[first] & valid[second], table[:, 3], 0.0)
    solution = kernels.solve.positions(first, second, table[:, :2], weight, count)
    matrices = np.broadcast_to(np.eye(3), (count, 3, 3)).copy()
    matrices[:, 1, 2], matrices[:, 0, 2] = solution.positions[:, 0], solution.positions[:, 1]
    # A stack of one slice has no pairs and nothing wrong with it.
    ok = solution.ok & valid if count > 1 else valid
    lost = int(np.sum(valid & ~ok))
    if lost > 0.5 * max(1, int(valid.sum())):
        warn(
            f"{lost} of {int(valid.sum())} slices could not be tied to any other; they are marked valid=False and stay where "
            "they are. Is there structure that neighbouring slices share? A lower `band` or a `region` may help",
            UntiedSliceWarning,
        )
    dataset = describe(da, matrices, ok)
    dataset["quality"] = ("z", solution.quality, {"long_name": "trusted share of the pairs"})
    dataset["step_error"] = (
        "z",
        solution.error,
        {"long_name": "error of the step from the slice before", "units": "pixel"},
    )
    for name, values in {
        "pair_first": first,
        "pair_second": second,
        "pair_shift_y": table[:, 0],
        "pair_shift_x": table[:, 1],
        "pair_quality": table[:, 2],
        "pair_trust": solution.trust,
    }.items():
        dataset[name] = ("pair", values)
    return dataset


def describe(da: xr.DataArray, matrices: np.ndarray, valid: np.ndarray) -> xr.Dataset:
    """Return the estimate of kind "transforms" for pull matrices (z, 3, 3) in pixels of the frame of `da`."""
    dataset = estimates.make(
        "transforms",
        {"transform": (("z", "row", "col"), matrices), "valid": ("z", np.asarray(valid, bool))},
        da,
        coords={"row": [0, 1, 2], "col": [0, 1, 2]},
    )
    dataset["transform"].attrs = {"long_name": "pull matrix, aligned (x, y, 1) to raw, in pixels"}
    return with_parameters(dataset, Frame.of(da))


def with_parameters(dataset: xr.Dataset, frame: Frame) -> xr.Dataset:
    """Return `dataset` with shift, rotation and scale computed from its matrices."""
    matrices = dataset["transform"].values
    rows, cols = frame.shape
    centre = np.array([(cols - 1) / 2, (rows - 1) / 2, 1.0])
    moved = matrices @ centre - centre
    linear = matrices[:, :2, :2]
    values = {
        "shift_y": (moved[:, 1] * frame.spacing[0], {"units": frame.units, "long_name": "shift along y"}),
        "shift_x": (moved[:, 0] * frame.spacing[1], {"units": frame.units, "long_name": "shift along x"}),
        # y runs down: a rotation that is counter-clockwise on screen has this sign.
        "rotation": (
            np.degrees(np.arctan2(linear[:, 0, 1] - linear[:, 1, 0], linear[:, 0, 0] + linear[:, 1, 1])),
            {"units": "degree", "long_name": "rotation"},
        ),
        "scale": (np.sqrt(np.abs(np.linalg.det(linear))), {"units": "1", "long_name": "scale"}),
    }
    return dataset.assign({name: ("z", value, attrs) for name, (value, attrs) in values.items()})
