"""What every function from stack to stack keeps: laziness, independence of the blocks, an untouched input."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import xarray as xr

from stack3d._records import ATTR, provenance
from stack3d.execution import RechunkWarning
from stack3d.grid import SPATIAL, spacing_of, units_of
from stack3d.model import is_lazy
from stack3d.testing._assertions import assert_stack_equal, assert_valid_stack, lasting

Result: TypeAlias = xr.DataArray | xr.Dataset
Chunks: TypeAlias = Mapping[Any, Any]


def assert_lazy(function: Callable[[xr.DataArray], Result], da: xr.DataArray, *, chunks: Chunks | None = None) -> None:
    """Assert that a function computes nothing when it is given a lazy stack, and that its result is lazy.

    Parameters
    ----------
    function : callable
        From stack to stack (or Dataset).
    da : DataArray
        A stack; one in memory is given to `function` lazily, a lazy one as it is (none of its blocks is ever
        computed).
    chunks : mapping, optional
        Blocks in which a stack in memory is cut, as for ``da.chunk``; by default each holds one frame.

    Raises
    ------
    AssertionError
        When a block is read or the scheduler called while the result is built, or when the values of the result are
        in memory.

    Examples
    --------
    >>> from stack3d.testing import assert_lazy
    >>> assert_lazy(lambda da: da.stack3d.crop(y=slice(0, 8), by="index").stack3d.invert(), stack)
    >>> assert_lazy(lambda da: da - float(da.mean()), stack)
    Traceback (most recent call last):
    AssertionError: the function computed while its result was built
    """
    import dask

    lazy = da if is_lazy(da) else _chunked(da, _one_frame(da) if chunks is None else chunks)
    lazy = lazy.copy(data=_guarded(lazy.data))

    def computed(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the function computed while its result was built")

    with dask.config.set(scheduler=computed):
        result = function(lazy)
    parts = {"the result": result} if isinstance(result, xr.DataArray) else dict(result.data_vars)
    eager = [str(name) for name, part in parts.items() if part.chunks is None]
    if eager:
        raise AssertionError(f"not lazy though the stack given was: {', '.join(eager)}")


def assert_chunk_invariant(
    function: Callable[[xr.DataArray], Result], da: xr.DataArray, *, chunks: Sequence[Chunks] | None = None
) -> None:
    """Assert that a function gives the same for a stack in memory and for a lazy one however it is cut in blocks.

    Parameters
    ----------
    function : callable
        From stack to stack, or to an estimate.
    da : DataArray
        A stack; a lazy one is computed first.
    chunks : sequence of mapping, optional
        Ways to cut it, each as for ``da.chunk``. By default one frame a block, blocks of unequal numbers of slices,
        the whole stack in one, and blocks of part frames (a `RechunkWarning` because of these is left out).

    Raises
    ------
    AssertionError
        Saying for which blocks, and what differs: see `assert_stack_equal`.

    Examples
    --------
    >>> from stack3d.testing import assert_chunk_invariant
    >>> assert_chunk_invariant(lambda da: da.stack3d.resample(dz="15 nm"), stack)
    >>> by_block = lambda da: xr.map_blocks(lambda block: block - block.min(), da, template=da)
    >>> assert_chunk_invariant(by_block, stack, chunks=[{"z": 2}])
    Traceback (most recent call last):
    AssertionError: in blocks {'z': 2}: values of 'image' differ in ... of 24576 places, first at ...
    """
    da = da.compute() if is_lazy(da) else da
    _assert_same_in_blocks(function, da, function(da), chunks)


def assert_input_unchanged(function: Callable[[xr.DataArray], Result], da: xr.DataArray) -> None:
    """Assert that a function leaves the stack it is given as it is, and shares none of its attrs with the result.

    Parameters
    ----------
    function : callable
        From stack to stack, or to an estimate; its result is computed.
    da : DataArray
        `function` is given a copy of it.

    Raises
    ------
    AssertionError
        When values, coordinates, attrs, name or encoding of `da` change, by the call or by a change to the attrs of
        the result.

    Examples
    --------
    >>> from stack3d.testing import assert_input_unchanged
    >>> assert_input_unchanged(lambda da: da.stack3d.flip(dims="z"), stack)
    >>> def careless(da):
    ...     da.attrs["seen"] = 1
    ...     return da + 1
    >>> assert_input_unchanged(careless, stack)
    Traceback (most recent call last):
    AssertionError: the stack given was changed: attrs of 'image' differ: 'seen' only in the first
    """
    da = da.copy()
    before = _snapshot(da)
    result = function(da)
    result.compute()
    _assert_as_before(da, before, "the stack given was changed")
    _assert_attrs_not_shared(da, before, result)


def assert_contract(
    function: Callable[[xr.DataArray], xr.DataArray],
    da: xr.DataArray,
    *,
    keeps_dtype: bool = True,
    keeps_dims: bool = True,
    lazy: bool = True,
    recorded: bool = True,
    chunks: Sequence[Chunks] | None = None,
) -> None:
    """Assert all that a correction promises.

    Its result is a stack whose positions increase, keep their units and have true ``spacing``; whose attrs go into
    every file format, those of the input among them; which has no encoding left from a file. It is the same for all
    blocks (`assert_chunk_invariant`), building it computes nothing (`assert_lazy`), and the input stays as it was
    (`assert_input_unchanged`).

    Parameters
    ----------
    function : callable
        From stack to stack.
    da : DataArray
        A small stack; `function` is called on it several times.
    keeps_dtype, keeps_dims : bool
        Whether the result must have the dtype, and the dims in their order, of `da`.
    lazy : bool
        Whether building the result computes nothing. False for a correction that first measures the stack; its
        result must be lazy all the same.
    recorded : bool
        Whether the function adds to the provenance, after the steps of `da`. False: the provenance is not looked at.
    chunks : sequence of mapping, optional
        See `assert_chunk_invariant`.

    Raises
    ------
    AssertionError
        Naming what is not kept.

    Examples
    --------
    >>> from stack3d.testing import assert_contract
    >>> assert_contract(lambda da: da.stack3d.bin(y=2, x=2), stack)
    >>> assert_contract(lambda da: da.stack3d.level_slices(), stack, lazy=False)
    >>> assert_contract(lambda da: da / 2, stack)
    Traceback (most recent call last):
    AssertionError: the result has dtype float64, the stack given uint16
    """
    da = _with_encoding(da.compute() if is_lazy(da) else da)
    before = _snapshot(da)
    result = function(da)
    if not isinstance(result, xr.DataArray):
        raise AssertionError(f"the result is a {type(result).__name__}; it must be a DataArray")
    if keeps_dtype and result.dtype != da.dtype:
        raise AssertionError(f"the result has dtype {result.dtype}, the stack given {da.dtype}")
    if keeps_dims and result.dims != da.dims:
        raise AssertionError(f"the result has dims {result.dims}, the stack given {da.dims}")
    assert_valid_stack(_as_far_as(da, result), name="the result")
    _assert_positions_kept(da, result)
    _assert_attrs_kept(da, result, recorded)
    encoded = [name for name, encoding in _encodings(result).items() if encoding]
    if encoded:
        raise AssertionError(f"the result has encoding of the file that its input came from: {', '.join(encoded)}")
    _assert_as_before(da, before, "the stack given was changed")
    if lazy:
        assert_lazy(function, da)
    elif function(_chunked(da, _one_frame(da))).chunks is None:
        raise AssertionError("the result is not lazy though the stack given was")
    _assert_same_in_blocks(function, da, result, chunks)
    _assert_attrs_not_shared(da, before, result)


def _assert_same_in_blocks(
    function: Callable[[xr.DataArray], Result], da: xr.DataArray, expected: Result, chunks: Sequence[Chunks] | None
) -> None:
    for blocks in _default_chunks(da) if chunks is None else chunks:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RechunkWarning)
            found = function(_chunked(da, blocks)).compute()
        try:
            assert_stack_equal(found, expected)
        except AssertionError as error:
            raise AssertionError(f"in blocks {dict(blocks)}: {error}") from error


def _one_frame(da: xr.DataArray) -> dict[Any, Any]:
    return {dim: -1 if dim in ("y", "x") else 1 for dim in da.dims}


def _default_chunks(da: xr.DataArray) -> list[dict[Any, Any]]:
    ways = [_one_frame(da), dict.fromkeys(da.dims, -1)]
    count = da.sizes.get("z", 1)
    if count > 2:
        ways.append({**ways[1], "z": (count - 2, 2)})
    return [*ways, {**_one_frame(da), "y": -(-da.sizes["y"] // 2), "x": -(-da.sizes["x"] // 2)}]


def _chunked(da: xr.DataArray, chunks: Chunks) -> xr.DataArray:
    # Values alone: da.chunk() makes coordinates lazy too.
    return da.copy(data=da.variable.chunk({**dict.fromkeys(da.dims, -1), **chunks}).data)


def _guarded(data: Any) -> Any:
    """Return a dask array like `data` whose blocks cannot be computed."""
    import dask.array

    name = f"guarded-{uuid.uuid4().hex}"
    graph = {(name, *index): (_refuse,) for index in np.ndindex(data.numblocks)}
    return dask.array.Array(graph, name, data.chunks, dtype=data.dtype, meta=data._meta)


def _refuse() -> Any:
    raise AssertionError("the function read a block while its result was built")


def _encodings(da: xr.DataArray) -> dict[str, dict[Any, Any]]:
    coords = {str(name): dict(coord.encoding) for name, coord in da.coords.items()}
    return {"values": dict(da.encoding), **coords}


def _with_encoding(da: xr.DataArray) -> xr.DataArray:
    # As a stack that was opened from a file has it.
    marked = da.copy()
    marked.encoding = {"chunksizes": da.shape}
    for coord in marked.coords.values():
        coord.encoding = {"zlib": True}
    return marked


def _snapshot(da: xr.DataArray) -> tuple[xr.DataArray, Any]:
    return da.copy(deep=True), _encodings(da)


def _assert_as_before(da: xr.DataArray, before: tuple[xr.DataArray, Any], what: str) -> None:
    try:
        assert_stack_equal(da, before[0])
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}") from error
    if _encodings(da) != before[1]:
        raise AssertionError(f"{what}: its encoding was {before[1]} and is {_encodings(da)}")


def _assert_attrs_not_shared(da: xr.DataArray, before: tuple[xr.DataArray, Any], result: Result) -> None:
    """Change the attrs of `result`, which is of no use afterwards."""
    owners = [result, *(coord.variable for coord in result.coords.values())]
    if isinstance(result, xr.Dataset):
        owners += [variable.variable for variable in result.data_vars.values()]
    for owner in owners:
        owner.attrs["_mark"] = 1
    _assert_as_before(da, before, "the stack given shares attrs with the result")


def _as_far_as(da: xr.DataArray, result: xr.DataArray) -> xr.DataArray:
    """Return `result` without the positions that were given without units or spacing: no more can be asked of those."""
    bare = [dim for dim in SPATIAL if dim in da.coords and not {"units", "spacing"} <= set(da[dim].attrs)]
    return result.drop_vars([dim for dim in bare if dim in result.coords])


def _assert_positions_kept(da: xr.DataArray, result: xr.DataArray) -> None:
    for dim in SPATIAL:
        if dim in da.coords and dim in result.dims and dim not in result.coords:
            raise AssertionError(f"the result has lost its coordinate {dim!r}")
        if dim in da.coords and dim in result.coords:
            if units_of(result, dim) != units_of(da, dim):
                raise AssertionError(
                    f"the result has {dim} in {units_of(result, dim)!r}, the stack given in {units_of(da, dim)!r}"
                )
            if not spacing_of(result, dim) > 0:
                raise AssertionError(f"the result has voxels {spacing_of(result, dim)} apart along {dim}")


def _assert_attrs_kept(da: xr.DataArray, result: xr.DataArray, recorded: bool) -> None:
    own = {key: value for key, value in da.attrs.items() if key not in (ATTR, "history")}
    lost = [str(key) for key, value in own.items() if key not in result.attrs or not np.all(result.attrs[key] == value)]
    if lost:
        raise AssertionError(f"the result has lost or changed the attrs {', '.join(lost)}")
    if not recorded:
        return
    before, after = lasting(provenance(da)), lasting(provenance(result))
    if len(after) <= len(before) or after[: len(before)] != before:
        raise AssertionError(
            f"the provenance of the result must add to that of the stack given: {len(before)} and {len(after)} steps"
        )
