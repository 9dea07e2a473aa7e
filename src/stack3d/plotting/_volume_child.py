"""The process that draws a volume with pyvista: ``python _volume_child.py SCENE.npz PICTURE.npy``."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def draw(job: Any) -> np.ndarray:
    """Return the colours (rows, columns, 4), float32 between 0 and 1, of a scene as `_volume_pyvista` wrote it."""
    import pyvista

    volume, spacing = job["volume"], job["spacing"]
    shape = tuple(int(n) for n in job["shape"])
    plotter = pyvista.Plotter(off_screen=True, window_size=shape[::-1], lighting="none")
    # Values at the centres of voxels; VTK counts x first.
    grid = pyvista.ImageData(dimensions=volume.shape[::-1], spacing=spacing[::-1], origin=spacing[::-1] / 2)
    grid.point_data["grey"] = volume.ravel()
    ramp, step = job["ramp"], float(spacing.min())
    look: dict[str, Any] = {"cmap": str(job["cmap"]), "clim": (0.0, 1.0), "show_scalar_bar": False}
    actor = plotter.add_volume(grid, scalars="grey", shade=False, **look)
    _set_opacity(actor.prop, ramp, step)
    low, high = job["corner"][:, ::-1]
    size = (np.array(volume.shape) * spacing)[::-1]
    _take_out(actor.mapper, low, high, size)
    for axis in range(3):
        plane = _cut_plane(grid, axis, low, high, size, job["ahead"][::-1], spacing[::-1])
        if plane is not None:
            plotter.add_mesh(plane, scalars="grey", lighting=False, **look)
    middle, ahead = job["centre"][::-1], job["ahead"][::-1]
    plotter.camera.focal_point = tuple(middle)
    plotter.camera.position = tuple(middle - 2 * np.linalg.norm(size) * ahead)
    plotter.camera.up = tuple(-job["down"][::-1])
    plotter.enable_parallel_projection()
    plotter.camera.parallel_scale = float(job["height"]) / 2
    plotter.reset_camera_clipping_range()
    picture = plotter.screenshot(transparent_background=True, return_img=True)
    plotter.close()
    return np.asarray(picture, np.float32) / 255


def _set_opacity(look: Any, ramp: np.ndarray, step: float) -> None:
    """Give the volume its opacity for each grey value; pyvista's own argument would stretch it to its full range."""
    from vtkmodules.vtkCommonDataModel import vtkPiecewiseFunction

    # VTK takes the opacity of a voxel's length; a solid begins at its first sample.
    alpha = np.ones(2) if not ramp.size else 1 - np.exp(-ramp * step)
    first, last = look.GetScalarOpacity().GetRange()
    function = vtkPiecewiseFunction()
    for place, value in zip(np.linspace(first, last, alpha.size), alpha):
        function.AddPoint(place, value)
    look.SetScalarOpacity(function)
    look.SetScalarOpacityUnitDistance(step)


def _take_out(mapper: Any, low: np.ndarray, high: np.ndarray, size: np.ndarray) -> None:
    """Let the mapper show all of the volume but one corner."""
    if np.any(high - low <= 0):
        return
    planes, region, count = [], 0, 1
    for axis in range(3):
        # The corner lies in the middle third of each axis, or in its first one.
        first = low[axis] > 0
        planes += [low[axis], size[axis]] if first else [high[axis], size[axis]]
        region += count * (1 if first else 0)
        count *= 3
    mapper.SetCropping(True)
    mapper.SetCroppingRegionPlanes(*planes)
    mapper.SetCroppingRegionFlags((1 << 27) - 1 - (1 << region))


def _cut_plane(
    grid: Any, axis: int, low: np.ndarray, high: np.ndarray, size: np.ndarray, ahead: np.ndarray, spacing: np.ndarray
) -> Any:
    """Return the plane that closes the corner towards the inside, with the grey values there."""
    import pyvista

    at = high[axis] if ahead[axis] > 0 else low[axis]
    if np.any(high - low <= 0) or not 0 < at < size[axis]:
        return None
    others = [k for k in range(3) if k != axis]
    count = [max(2, round((high[k] - low[k]) / spacing[k]) + 1) for k in others]
    points = np.zeros((count[1], count[0], 3))
    points[..., axis] = at
    points[..., others[0]] = np.linspace(low[others[0]], high[others[0]], count[0])
    points[..., others[1]] = np.linspace(low[others[1]], high[others[1]], count[1])[:, None]
    plane = pyvista.StructuredGrid(*(points[..., k][None] for k in range(3)))
    inner = points.transpose(2, 0, 1).reshape(3, -1)[::-1]
    from scipy.ndimage import map_coordinates

    values = grid.point_data["grey"].reshape(grid.dimensions[::-1])
    index = inner / spacing[::-1][:, None] - 0.5
    plane.point_data["grey"] = (
        map_coordinates(values, index, order=1, mode="nearest").reshape(count[1], count[0]).ravel(order="F")
    )
    return plane


if __name__ == "__main__":
    with np.load(sys.argv[1]) as job:
        np.save(sys.argv[2], draw(job))
