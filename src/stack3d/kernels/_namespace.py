"""Which array module a frame belongs to, and frames in the layout that compiled loops want."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def namespace(array: Any) -> Any:
    """Return the module (numpy or cupy) that `array` belongs to; cupy is looked up only when the array is cupy's.

    Parameters
    ----------
    array : array
        A numpy or cupy array.

    Returns
    -------
    module
        `numpy` or `cupy`.
    """
    # An array of cupy exists only where cupy was imported already.
    if type(array).__module__.partition(".")[0] == "cupy":
        return sys.modules["cupy"]
    return np


def on_host(array: Any) -> bool:
    """Tell whether `array` is a plain numpy array of a kind that the compiled loops take."""
    return isinstance(array, np.ndarray) and array.dtype in _COMPILED


def packed(frame: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return `frame` C-contiguous and in the byte order of the machine: itself wherever it is that already."""
    if frame.flags.c_contiguous and frame.dtype.isnative and type(frame) is np.ndarray and frame.ndim:
        return frame  # without the price of making a dtype
    return np.ascontiguousarray(frame, dtype=frame.dtype.newbyteorder("="))


_COMPILED = frozenset(
    np.dtype(order + kind) for order in "<>" for kind in ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8")
)
