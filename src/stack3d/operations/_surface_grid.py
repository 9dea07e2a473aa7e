"""Surfaces as values on a coarse grid, and surfaces of either kind at the frames of a stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from stack3d import estimates, kernels
from stack3d.grid import spacing_of, units_of
from stack3d.operations import _surface_fit
from stack3d.units import parse_length

_STEPS = 4  # cells of the grid in the size of the filter


def estimated(
    da: xr.DataArray,
    kind: str,
    method: str,
    per: str,
    size: Any,
    structures: str,
    sampling: _surface_fit.Sampling,
    region: Mapping[str, Any] | None,
    device: str | None,
) -> xr.Dataset:
    """Return the estimate of a background by smoothing cell means."""
    extent = {dim: da.sizes[dim] * spacing_of(da, dim) for dim in ("y", "x")}
    if size is None:
        length = min(extent.values()) / (8 if method == "gaussian" else 4)
    else:
        length = parse_length(size, unit=units_of(da, "x"), spacing=spacing_of(da, "x"), name="size")
    if not 0 < length <= max(extent.values()):
        unit = "pixels" if units_of(da, "x") == "1" else units_of(da, "x")
        raise ValueError(
            f"size={size!r} is {length:g} {unit}; it must be above 0 and at most the size of the frame, "
            f"{max(extent.values()):g} {unit}. Is the unit right?"
        )
    cells = {dim: max(1, min(da.sizes[dim], round(_STEPS * extent[dim] / length))) for dim in ("y", "x")}
    sample, centres = _sampled(da, sampling, region, device, cells)
    values, amounts = sample
    if per == "stack" or "z" not in da.dims:
        values, amounts = _mean_of_slices(values, amounts)
    widths = [length / (extent[dim] / cells[dim]) for dim in ("y", "x")]
    grid = _smoothed(values, amounts, method, structures, widths)
    lead = tuple(dim for dim in da.dims[:-2] if dim != "z" or per == "slice")
    if "z" not in da.dims and values.ndim > len(lead) + 2:
        grid = grid[..., 0, :, :]
    level = grid.mean(axis=(-2, -1))
    variables = {
        "grid": ((*lead, "grid_y", "grid_x"), grid, {"long_name": "background", "units": "grey value"}),
        "level": (lead, level, {"long_name": "mean of the background", "units": "grey value"}),
    }
    return estimates.make(kind, variables, da, coords={f"grid_{dim}": place for dim, place in centres.items()})


def _mean_of_slices(values: np.ndarray, amounts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means over slices (..., z, gy, gx), slice by slice, and their amounts."""
    found, total = np.zeros_like(values[..., 0, :, :]), np.zeros_like(amounts[..., 0, :, :])
    for k in range(values.shape[-3]):
        value, amount = values[..., k, :, :], amounts[..., k, :, :]
        found += np.where(amount > 0, value, 0.0) * amount
        total += amount
    with np.errstate(invalid="ignore"):
        found /= total
    return found, total


def _sampled(
    da: xr.DataArray,
    sampling: _surface_fit.Sampling,
    region: Mapping[str, Any] | None,
    device: str | None,
    cells: Mapping[str, int],
) -> tuple[tuple[np.ndarray, np.ndarray], dict[str, np.ndarray]]:
    from stack3d.execution import reduce_frames
    from stack3d.model import valid_slices
    from stack3d.operations import _grey

    part = _grey.measured(da, region)
    edges = {dim: kernels.cells.edges(part.sizes[dim], cells[dim]) for dim in ("y", "x")}
    found = reduce_frames(
        part,
        _surface_fit._means,
        arguments={"rows": edges["y"], "cols": edges["x"], "low": sampling.low, "high": sampling.high},
        device=device,
        label="estimate background",
    )
    values, amounts = found["values"], found["amounts"]
    _surface_fit.check_measured(amounts if "z" in da.dims else np.expand_dims(amounts, -3), sampling)
    if "z" in da.dims:
        amounts[..., ~valid_slices(da), :, :] = 0.0
    else:
        values, amounts = np.expand_dims(values, -3), np.expand_dims(amounts, -3)
    centres = {
        dim: np.add.reduceat(_surface_fit.places(part, dim), edge[:-1]) / np.diff(edge) for dim, edge in edges.items()
    }
    return (values, amounts), centres


def _smoothed(values: np.ndarray, amounts: np.ndarray, method: str, structures: str, widths: list[float]) -> np.ndarray:
    """Return grids (..., gy, gx) filtered one by one; NaN where a whole frame has no pixel that counts."""
    from scipy import ndimage

    out = np.full(values.shape, np.nan)
    for index in np.ndindex(values.shape[:-2]):
        mass = amounts[index]
        if not mass.any():
            continue
        known = np.where(mass > 0, values[index], 0.0)
        spread = [max(width, 0.5) for width in widths]
        if method == "gaussian":
            share = ndimage.gaussian_filter(mass, spread, mode="nearest")
            smooth = ndimage.gaussian_filter(known * mass, spread, mode="nearest") / np.maximum(
                share, 1e-12 * mass.max()
            )
        else:
            nearest = ndimage.distance_transform_edt(mass == 0, return_distances=False, return_indices=True)
            filled = known[tuple(nearest)]
            reach = [max(1, round(width)) for width in widths]
            envelope = {"bright": ndimage.grey_opening, "dark": ndimage.grey_closing}[structures](
                filled, size=reach, mode="nearest"
            )
            smooth = ndimage.gaussian_filter(envelope, [0.5 * width for width in spread], mode="nearest")
        out[index] = smooth
    return out


def matrices(found: xr.Dataset, da: xr.DataArray, divide: bool) -> tuple[xr.DataArray, np.ndarray, np.ndarray]:
    """Return the polynomial of y and x of each frame, and the positions of rows and columns."""
    powers = np.stack([found[f"power_{dim}"].values for dim in ("z", "y", "x")], axis=1).astype(np.int64)
    frame = {str(name): float(found[name]) for name in found.data_vars if str(name).startswith(("origin_", "span_"))}
    rows, cols = (_surface_fit.normalised(da, dim, frame) for dim in ("y", "x"))
    coefficient = found["coefficient"]
    lead = [dim for dim in coefficient.dims if dim != "term"]
    by_height = "z" in da.dims and "z" not in lead and bool(powers[:, 0].any())
    heights = _surface_fit.normalised(da, "z", frame) if "z" in da.dims or "z" in da.coords else np.zeros(1)
    values = coefficient.transpose(*lead, "term").values
    shape = values.shape[:-1]
    where = heights if by_height else heights[:1]
    each = np.array([_surface_fit.matrices_at(values[index], powers, where) for index in np.ndindex(shape)])
    table = each.reshape(*shape, *each.shape[1:])
    dims = [*lead, "height", "power_of_y", "power_of_x"]
    found_matrices = xr.DataArray(table, dims=dims)
    result = found_matrices.rename(height="z") if by_height else found_matrices.isel(height=0)
    if divide:
        lowest = np.empty(result.shape[:-2])
        for index in np.ndindex(lowest.shape):
            corner = kernels.surface.polynomial(
                rows[:: max(1, len(rows) // 16)], cols[:: max(1, len(cols) // 16)], result.values[index]
            )
            lowest[index] = np.append(corner.ravel(), _corners(rows, cols, result.values[index])).min()
        result = _dividing(result, lowest, "z" in lead, found)
    return result, rows, cols


def grids(found: xr.Dataset, da: xr.DataArray, divide: bool) -> tuple[xr.DataArray, np.ndarray, np.ndarray]:
    """Return the grid of each frame, and where rows and columns lie in steps of the grid."""
    places = [
        np.interp(_surface_fit.places(da, dim), found[f"grid_{dim}"].values, np.arange(found.sizes[f"grid_{dim}"]))
        for dim in ("y", "x")
    ]
    grid = found["grid"].drop_vars(list(found["grid"].coords))
    if divide:
        grid = grid.transpose(..., "grid_y", "grid_x")
        grid = _dividing(grid, grid.values.min(axis=(-2, -1)), "z" in grid.dims, found)
    return grid, places[0], places[1]


def _corners(rows: np.ndarray, cols: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return np.asarray(kernels.surface.polynomial(rows[[0, -1]], cols[[0, -1]], matrix)).ravel()


def _dividing(surfaces: xr.DataArray, lowest: np.ndarray, by_slice: bool, found: xr.Dataset) -> xr.DataArray:
    """Return surfaces (..., two dims of their own), those of single slices that fall to 0 as if they were not fitted."""
    falls = lowest <= 0
    if by_slice and bool((lowest > 0).any()):
        return surfaces.where(xr.DataArray(~falls, dims=surfaces.dims[:-2])) if falls.any() else surfaces
    if falls.any():
        raise ValueError(_refusal(float(lowest[falls].min()), found))
    return surfaces


def _refusal(lowest: float, found: xr.Dataset) -> str:
    if "dark" in found:
        dark = float(found["dark"])
        return (
            f"dark={dark:g}: the field falls to {lowest + dark:g} somewhere in the frame, and must be above dark everywhere; "
            "give a smaller dark, or a surface that bends less (degree)"
        )
    return (
        f"operation='divide': the background falls to {lowest:g}, and only a positive one can be divided by; subtract it, "
        "or give dark= to `flatten`"
    )
