"""A cupy made up here, stricter than the real one: nothing of NumPy takes its arrays, nor they arrays of NumPy.

Its arrays live in the memory of the CPU but give nothing away: NumPy functions, compiled loops and arrays of NumPy beside
them in a sum are refused, as a card would refuse them. Only indices may be arrays of NumPy, which cupy sends over, and
numbers. Of functions there are those that cupy was seen to have.
"""

from __future__ import annotations

import operator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

FUNCTIONS = """
abs all any arange arctan2 argsort bincount broadcast_to ceil clip concatenate count_nonzero cos cumsum empty
empty_like exp eye flatnonzero floor full full_like histogram hypot interp isfinite isinf isnan ldexp linspace log
matmul max maximum mean median min minimum moveaxis nanmedian ones ones_like pad partition repeat rint roll
searchsorted sign sin sort sqrt stack subtract sum swapaxes take take_along_axis tensordot trace transpose vdot
where zeros zeros_like
"""
PARTS = {"fft": ("rfft", "irfft", "rfft2", "irfft2", "fft", "ifft"), "linalg": ("solve",)}
METHODS = """
all any argmax argsort astype clip conj copy cumsum max mean min ravel repeat reshape std sum swapaxes take
transpose
"""


def _bare(value: Any) -> Any:
    """Return what the arrays of a card hold, refusing those of NumPy."""
    if isinstance(value, Array):
        return value._held
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError(f"an array of NumPy {value.shape} where one of the card is needed")
    if isinstance(value, list | tuple):
        return type(value)(_bare(part) for part in value)
    return value


def _there(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return Array(np.asarray(value))
    if isinstance(value, list | tuple):
        return type(value)(_there(part) for part in value)
    return value


def _called(function: Any) -> Any:
    def run(*arguments: Any, **options: Any) -> Any:
        out = options.pop("out", None)
        found = function(*_bare(arguments), **{name: _bare(value) for name, value in options.items()})
        if out is not None:
            out._held[...] = found
            return out
        return _there(found)

    return run


class Array:
    """An array of the card; no subclass of NumPy's."""

    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, held: np.ndarray[Any, Any]) -> None:
        self._held = held

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("an array of the card is not turned into one of NumPy; use .get()")

    def __array_function__(self, function: Any, *_: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} was called with an array of the card")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        # A number of NumPy on the left of an operator comes here; functions of NumPy by name would as well.
        if method != "__call__" or options or len(inputs) != 2 or isinstance(inputs[0], Array):
            raise TypeError(f"numpy.{ufunc.__name__} was called with an array of the card")
        return _there(ufunc(*_bare(inputs)))

    def get(self) -> np.ndarray[Any, Any]:
        return self._held.copy()

    def view(self, dtype: Any) -> Array:
        return Array(self._held.view(dtype))

    def __getitem__(self, index: Any) -> Array:
        return Array(np.asarray(self._held[_index(index)]))

    def __setitem__(self, index: Any, value: Any) -> None:
        self._held[_index(index)] = _bare(value)

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Any:
        return (self[k] for k in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self._held)

    def __int__(self) -> int:
        return int(self._held)

    def __float__(self) -> float:
        return float(self._held)

    def __abs__(self) -> Array:
        return Array(abs(self._held))

    def __neg__(self) -> Array:
        return Array(-self._held)

    def __invert__(self) -> Array:
        return Array(~self._held)


Array.__module__ = "cupy._core.core"
Array.__name__ = Array.__qualname__ = "ndarray"


def _index(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(_index(part) for part in index)
    return index._held if isinstance(index, Array) else index


def _binary(name: str) -> None:
    function = getattr(operator, name)

    def forth(self: Array, other: Any) -> Any:
        return _there(function(self._held, _bare(other)))

    def back(self: Array, other: Any) -> Any:
        return _there(function(_bare(other), self._held))

    plain = name.rstrip("_")

    def inplace(self: Array, other: Any) -> Array:
        held = getattr(operator, f"i{plain}")(self._held, _bare(other))
        self._held = held
        return self

    setattr(Array, f"__{plain}__", forth)
    if plain not in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(Array, f"__r{plain}__", back)
        setattr(Array, f"__i{plain}__", inplace)


def _properties() -> None:
    for name in ("shape", "ndim", "size", "dtype", "nbytes", "flags"):
        setattr(Array, name, property(lambda self, name=name: getattr(self._held, name)))
    for name in ("T", "real", "imag"):
        setattr(Array, name, property(lambda self, name=name: Array(getattr(self._held, name))))
    for name in METHODS.split():
        setattr(Array, name, lambda self, *a, name=name, **o: _called(getattr(self._held, name))(*a, **o))


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor"):
    _binary(_name)
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    _binary(_name)
_properties()


def module(free: int = 1 << 30) -> ModuleType:
    """Return a cupy with so much free memory; `sent` are the shapes of arrays that went to the card."""
    out: Any = ModuleType("cupy")
    out.sent = []

    def asarray(array: Any, dtype: Any = None) -> Array:
        if isinstance(array, Array):
            return array if dtype is None or array.dtype == dtype else array.astype(dtype)
        array = [_bare(part) for part in array] if isinstance(array, list) else array
        out.sent.append(np.shape(array))
        return Array(np.array(array, dtype))

    def ascontiguousarray(array: Array, dtype: Any = None) -> Array:
        return Array(np.ascontiguousarray(_bare(array), dtype))

    out.ndarray, out.asarray, out.array, out.ascontiguousarray = Array, asarray, asarray, ascontiguousarray
    out.einsum = _called(np.einsum)
    for name in FUNCTIONS.split():
        setattr(out, name, _called(getattr(np, name)))
    for part, names in PARTS.items():
        setattr(
            out, part, SimpleNamespace(**{name: _transform(getattr(getattr(np, part), name), part) for name in names})
        )
    out.inf, out.nan, out.newaxis, out.float32, out.float64 = np.inf, np.nan, None, np.float32, np.float64
    runtime = SimpleNamespace(getDeviceCount=lambda: 1, memGetInfo=lambda: (free, 2 * free))
    out.cuda = SimpleNamespace(runtime=runtime)
    out.get_default_memory_pool = lambda: SimpleNamespace(free_bytes=lambda: 0)
    return out


def parts() -> dict[str, Any]:
    """Return what is needed of cupyx, by the name of the module."""
    from scipy import ndimage, special

    return {
        "cupyx.scipy.ndimage": SimpleNamespace(label=_called(ndimage.label)),
        "cupyx.scipy.special": SimpleNamespace(ndtr=_called(special.ndtr)),
    }


def _transform(function: Any, part: str) -> Any:
    """Return a transform that keeps single precision, as those of cupy do."""

    def run(values: Any, *arguments: Any, **options: Any) -> Any:
        single = part == "fft" and values.dtype in (np.float32, np.complex64)
        found = function(_bare(values), *_bare(arguments), **{k: _bare(v) for k, v in options.items()})
        if single:
            found = found.astype(np.complex64 if found.dtype.kind == "c" else np.float32)
        return Array(np.asarray(found))

    return run
