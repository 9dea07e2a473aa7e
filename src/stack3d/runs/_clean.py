"""Giving back the space of checkpoints."""

from __future__ import annotations

import os
from pathlib import Path

from stack3d.runs._folder import RunFolder


def clean(result: str | os.PathLike[str]) -> int:
    """Delete the checkpoints of a run, finished or not; the result and the estimates stay.

    Parameters
    ----------
    result : path
        What `run` made or was to make, such as ``"clean.zarr"``.

    Returns
    -------
    int
        How many bytes that gave back.
    """
    folder = Path(f"{os.path.realpath(result)}.run")
    if not folder.is_dir():
        raise FileNotFoundError(f"result={str(result)!r}: there is no folder {str(folder)!r} of a run")
    kept = RunFolder(folder)
    with kept.locked():
        return kept.clean()
