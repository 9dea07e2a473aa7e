"""A volume cast by VTK without a window, in a process of its own: where there is no way to draw, VTK may abort."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from stack3d.plotting._volume_scene import Scene

_SECONDS = 120


class RenderError(Exception):
    """Why the other process drew nothing."""


def render(scene: Scene, ramp: np.ndarray | None, cmap: str) -> np.ndarray:
    """Return the colours (rows, columns, 4) between 0 and 1.

    Parameters
    ----------
    scene : Scene
    ramp : (n,) array or None
        Opacity along the longest side for grey values from 0 to 1.
    cmap : str

    Raises
    ------
    RenderError
        When the process ended without a picture.
    """
    _, down, ahead = scene.axes
    low, high = scene.taken_out()
    with tempfile.TemporaryDirectory() as folder:
        job, picture = Path(folder) / "scene.npz", Path(folder) / "picture.npy"
        np.savez(
            job,
            volume=scene.volume,
            spacing=scene.spacing,
            centre=scene.centre,
            down=down,
            ahead=ahead,
            corner=np.stack([low, high]),
            shape=np.array(scene.shape),
            height=scene.scale * scene.shape[0],
            ramp=np.zeros(0) if ramp is None else ramp / scene.size.max(),
            cmap=np.array(cmap),
        )
        script = Path(__file__).with_name("_volume_child.py")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
        try:
            done = subprocess.run(
                [sys.executable, "-P", str(script), str(job), str(picture)],
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RenderError(f"it took longer than {_SECONDS} s") from None
        except OSError as error:
            raise RenderError(f"no process could be started: {error}") from None
        if done.returncode != 0 or not picture.is_file():
            lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
            raise RenderError(f"its process ended with status {done.returncode}: {lines[-1].strip()[:200]}")
        colours: np.ndarray = np.load(picture)
        return colours
