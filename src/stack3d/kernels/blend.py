"""Weighted sums of frames, fused with rounding: interpolation along z."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

from stack3d.kernels._namespace import namespace, on_host, packed
from stack3d.kernels._store import finish, limits, store, working_dtype
from stack3d.kernels.cast import cast_frame


def blend_frames(
    frames: Sequence[Any],
    weights: Any,
    dtype: Any,
    masks: Sequence[Any | None] | None = None,
    *,
    missing: str = "nearest",
) -> tuple[Any, int]:
    """Return the weighted sum of frames.

    The nearest frame is that of the largest weight (the first of equal ones). Where a frame lacks a pixel (NaN, or
    False in its mask) its weight goes to the others in proportion; where the nearest one lacks it, the result takes
    the nearest one's stored value, NaN or not, and the pixel is missing: the mask of the result is that of the
    nearest frame. Frames of weight 0 are not looked at.

    Parameters
    ----------
    frames : sequence of (y, x) arrays
        All of one shape and dtype, numpy or cupy.
    weights : (frames,) sequence of float
        May be negative; need not sum to 1.
    dtype : dtype
        Of the result. Integers are rounded half to even and saturate.
    masks : sequence of (y, x) arrays of bool or None, optional
        True where a frame's pixel was measured; None for a frame that is complete.
    missing : {"nearest", "all"}
        When a pixel of the result is missing: when the nearest frame lacks it (interpolation), or when all frames
        of a weight other than 0 do (averages over cells, where no frame is nearer than another).

    Returns
    -------
    frame : (y, x) array of dtype
    saturated : int
        Pixels that did not fit `dtype` (missing ones in an integer result too).

    Examples
    --------
    >>> from stack3d.kernels import blend
    >>> frames = [np.full((1, 2), 10, "uint8"), np.full((1, 2), 20, "uint8")]
    >>> blend.blend_frames(frames, [0.25, 0.75], "uint8")
    (array([[18, 18]], dtype=uint8), 0)
    """
    used, parts, valid = _used(frames, weights, masks, missing)
    dtype = np.dtype(dtype)
    if len(used) == 1 and parts[0] == 1:
        return cast_frame(used[0], dtype)
    kind = working_dtype(used[0].dtype, dtype)
    if not on_host(used[0]) or dtype.kind not in "iuf" or dtype.itemsize > 8 or dtype.str[1:] in ("u8", "i8"):
        return _blend_xp(used, parts, dtype, valid, kind, missing)
    smallest, largest = (kind.type(limit) for limit in limits(dtype))
    sources = [packed(frame) for frame in used]
    nearest = int(np.argmax(parts))
    if len(sources) == 1 and valid is None:
        # One frame with a weight of its own: the same loop with nothing to add.
        sources, parts = sources * 2, np.array([parts[0], 0.0])
    out = np.empty(sources[0].shape, dtype)
    gaps = valid is not None or sources[0].dtype.kind == "f"
    if len(sources) == 2 and valid is None and (missing == "nearest" or not gaps):
        near, far = sources[nearest], sources[1 - nearest]
        near_part, far_part = kind.type(parts[nearest]), kind.type(parts[1 - nearest])
        return out, int(_blend_two(near, far, out, near_part, far_part, _whole(parts, kind), smallest, largest))
    if not gaps and len(sources) <= 4:
        first, second, third, fourth = [*sources, *[sources[0]] * (4 - len(sources))]
        four = np.zeros(4, kind)
        four[: len(parts)] = parts
        return out, int(_blend_four(first, second, third, fourth, four, out, smallest, largest))
    total = np.zeros(out.shape, kind)
    if not gaps:
        for frame, part in zip(sources, parts):
            _add(frame, kind.type(part), total)
        return cast_frame(total, dtype)
    weight = np.zeros(out.shape, kind)
    for index, (frame, part) in enumerate(zip(sources, parts)):
        mask = None if valid is None or valid[index] is None else packed(valid[index])
        _add_measured(frame, mask, kind.type(part), total, weight)
    mask = None if valid is None or valid[nearest] is None else packed(valid[nearest])
    whole, strict = _whole(parts, kind), missing == "nearest"
    return out, int(_divide(total, weight, whole, sources[nearest], mask, strict, out, smallest, largest))


def blend_xp(
    frames: Sequence[Any],
    weights: Any,
    dtype: Any,
    masks: Sequence[Any | None] | None = None,
    *,
    missing: str = "nearest",
) -> tuple[Any, int]:
    """`xp` form of `blend_frames`."""
    used, parts, valid = _used(frames, weights, masks, missing)
    return _blend_xp(used, parts, np.dtype(dtype), valid, working_dtype(used[0].dtype, dtype), missing)


def _used(
    frames: Sequence[Any], weights: Any, masks: Any, missing: str
) -> tuple[list[Any], np.ndarray[Any, Any], list[Any] | None]:
    parts = np.asarray(weights, np.float64)
    if parts.shape != (len(frames),) or not len(frames):
        raise ValueError(f"weights must be one number per frame ({len(frames)} frames), got shape {parts.shape}")
    if any(frame.shape != frames[0].shape or frame.dtype != frames[0].dtype for frame in frames):
        kinds = sorted({f"{frame.shape} {frame.dtype}" for frame in frames})
        raise ValueError(f"frames must all have one shape and dtype, got {', '.join(kinds)}")
    if masks is not None and len(masks) != len(frames):
        raise ValueError(f"masks must be one per frame ({len(frames)} frames), got {len(masks)}")
    if missing not in ("nearest", "all"):
        raise ValueError(f"missing must be 'nearest' or 'all', got {missing!r}")
    keep = np.flatnonzero(parts).tolist()
    if not keep:
        raise ValueError(f"weights must not all be zero, got {parts.tolist()}")
    valid = None if masks is None or all(masks[k] is None for k in keep) else [masks[k] for k in keep]
    return [frames[k] for k in keep], parts[keep], valid


def _whole(parts: np.ndarray[Any, Any], kind: np.dtype[Any]) -> Any:
    whole = kind.type(0)
    for part in parts:
        whole = kind.type(whole + kind.type(part))
    return whole


def _blend_xp(
    used: list[Any],
    parts: np.ndarray[Any, Any],
    dtype: np.dtype[Any],
    valid: list[Any] | None,
    kind: np.dtype[Any],
    missing: str,
) -> tuple[Any, int]:
    xp = namespace(used[0])
    nearest = int(np.argmax(parts))
    if valid is None and used[0].dtype.kind != "f":
        total = used[0].astype(kind) * kind.type(parts[0])
        for frame, part in zip(used[1:], parts[1:]):
            total = total + frame.astype(kind) * kind.type(part)
        return finish(total, dtype)
    present = [~xp.isnan(frame) for frame in used]
    if valid is not None:
        present = [here if mask is None else here & mask for here, mask in zip(present, valid)]
    zero = kind.type(0)
    total = weight = xp.zeros(used[0].shape, kind)
    for frame, part, here in zip(used, parts, present):
        total = total + xp.where(here, frame.astype(kind) * kind.type(part), zero)
        weight = weight + xp.where(here, kind.type(part), zero)
    known = present[nearest] if missing == "nearest" else weight != 0
    # Where no frame lacks the pixel the factor is exactly 1: `weight` was summed in the same order.
    total = total * (_whole(parts, kind) / xp.where(known, weight, kind.type(1)))
    return finish(xp.where(known, total, used[nearest].astype(kind)), dtype)


@njit(nogil=True, cache=True)
def _blend_two(
    near: Any, far: Any, out: Any, near_part: Any, far_part: Any, whole: Any, smallest: Any, largest: Any
) -> int:
    total = 0
    alone = whole / near_part
    for y in range(out.shape[0]):
        first, second, target, count = near[y], far[y], out[y], np.int32(0)
        for x in range(target.size):
            a, b = type(near_part)(first[x]), type(near_part)(second[x])
            value = a * near_part + b * far_part if b == b else a * near_part * alone
            count = np.int32(count + store(target, x, value, smallest, largest))
        total += int(count)
    return total


@njit(nogil=True, cache=True)
def _blend_four(a: Any, b: Any, c: Any, d: Any, parts: Any, out: Any, smallest: Any, largest: Any) -> int:
    total = 0
    p, q, r, s = parts[0], parts[1], parts[2], parts[3]
    for y in range(out.shape[0]):
        first, second, third, fourth, target, count = a[y], b[y], c[y], d[y], out[y], np.int32(0)
        for x in range(target.size):
            value = type(p)(first[x]) * p + type(p)(second[x]) * q
            value += type(p)(third[x]) * r
            value += type(p)(fourth[x]) * s
            count = np.int32(count + store(target, x, value, smallest, largest))
        total += int(count)
    return total


@njit(nogil=True, cache=True)
def _add(frame: Any, part: Any, total: Any) -> None:
    for y in range(frame.shape[0]):
        source, target = frame[y], total[y]
        for x in range(source.size):
            target[x] += type(part)(source[x]) * part


@njit(nogil=True, cache=True)
def _add_measured(frame: Any, mask: Any, part: Any, total: Any, weight: Any) -> None:
    for y in range(frame.shape[0]):
        source, target, heavy = frame[y], total[y], weight[y]
        for x in range(source.size):
            value = type(part)(source[x])
            here = value == value
            if mask is not None:
                here = here & mask[y, x]
            target[x] += value * part if here else type(part)(0)
            heavy[x] += part if here else type(part)(0)


@njit(nogil=True, cache=True)
def _divide(
    total: Any,
    weight: Any,
    whole: Any,
    nearest: Any,
    mask: Any,
    strict: bool,
    out: Any,
    smallest: Any,
    largest: Any,
) -> int:
    changed = 0
    for y in range(out.shape[0]):
        target, count = out[y], np.int32(0)
        for x in range(target.size):
            value = type(whole)(nearest[y, x])
            known = weight[y, x] != 0
            if strict:
                known = value == value
                if mask is not None:
                    known = known & mask[y, x]
            if known:
                value = total[y, x]
                if weight[y, x] != whole:
                    value = value * (whole / weight[y, x])
            count = np.int32(count + store(target, x, value, smallest, largest))
        changed += int(count)
    return changed
