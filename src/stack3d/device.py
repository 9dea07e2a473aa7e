"""Where arithmetic runs: the CPU, or a GPU through cupy, which is imported only when it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from stack3d.options import CHECKS, get_option

_ALLOWED = ("cpu", "gpu", "auto")


def resolve(device: str | None = None) -> str:
    """Return where to run: ``"cpu"`` or ``"gpu"``.

    Parameters
    ----------
    device : {"cpu", "gpu", "auto"}, optional
        ``"auto"`` is the GPU where there is one that cupy can use, and the CPU otherwise. None means the option
        ``device`` (`stack3d.set_options`).

    Returns
    -------
    {"cpu", "gpu"}

    Raises
    ------
    ValueError
        When `device` is none of these.
    RuntimeError
        When the GPU is asked for and cannot be used; the message says what is missing.

    Examples
    --------
    >>> from stack3d.device import resolve
    >>> resolve("cpu")
    'cpu'
    """
    if device is None:
        device = str(get_option("device"))
    if not isinstance(device, str) or device not in _ALLOWED:
        raise ValueError(f"device={device!r} is not allowed; it must be 'cpu', 'gpu' or 'auto', or None for the option")
    if device == "cpu":
        return "cpu"
    missing = _missing()
    if device == "auto":
        return "cpu" if missing else "gpu"
    if missing:
        raise RuntimeError(f"device='gpu' cannot be used: {missing}; use device='cpu' or 'auto'")
    return "gpu"


# Asking for a GPU that is not there is an error when the option is set, not first where it is used.
CHECKS["device"] = lambda device: resolve("gpu") if device == "gpu" else None


def is_cupy(array: Any) -> bool:
    """Return whether an array, or the blocks of a dask array, are cupy's; cupy is not imported for this.

    Examples
    --------
    >>> from stack3d.device import is_cupy
    >>> is_cupy(stack.data), is_cupy(stack.chunk().data)
    (False, False)
    """
    # A dask array carries an empty array of the kind of its blocks.
    return type(getattr(array, "_meta", array)).__module__.partition(".")[0] == "cupy"


def to_device(array: Any, device: str | None = None) -> Any:
    """Return `array` in the memory of a device; itself where it is there already.

    Parameters
    ----------
    array : array
        Of numpy, cupy or dask (then lazily, block by block).
    device : {"cpu", "gpu", "auto"}, optional
        As for `resolve`.

    Returns
    -------
    array
        Of cupy for the GPU and of numpy for the CPU; lazy if `array` is.
    """
    if resolve(device) == "cpu":
        return to_host(array)
    if is_cupy(array):
        return array
    import cupy

    if _is_dask(array):
        return array.map_blocks(
            to_device, device="gpu", dtype=array.dtype, meta=cupy.empty((0,) * array.ndim, array.dtype)
        )
    return cupy.asarray(array)


def to_host(array: Any) -> Any:
    """Return `array` in the memory of the CPU; itself where it is there already, lazy if it is.

    Examples
    --------
    >>> from stack3d.device import to_host
    >>> to_host(stack.data) is stack.data
    True
    """
    if not is_cupy(array):
        return array
    if _is_dask(array):
        return array.map_blocks(to_host, dtype=array.dtype, meta=np.empty((0,) * array.ndim, array.dtype))
    return array.get()


def _is_dask(array: Any) -> bool:
    return type(array).__module__.partition(".")[0] == "dask"


def _missing() -> str:
    """Return what keeps the GPU from being used, an empty string if nothing does."""
    try:
        import cupy
    except ModuleNotFoundError as error:
        if error.name == "cupy":
            return "cupy is not installed (pip install 'stack3d[gpu]')"
        return f"cupy cannot be imported ({error})"
    except Exception as error:  # whatever a broken installation of CUDA may raise
        return f"cupy cannot be imported ({error})"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # of a class of cupy's own: no driver, one too old, no card
        return f"cupy finds no driver or card of NVIDIA ({error})"
    return "" if count else "cupy finds no card of NVIDIA"
