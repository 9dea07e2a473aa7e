"""Taking away stripes: curtains of the milling beam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Literal

import numpy as np
import xarray as xr

from stack3d import kernels
from stack3d._provenance import operation
from stack3d.execution import map_frames
from stack3d.model import rebuild, result_dtype
from stack3d.operations import _grey
from stack3d.operations._stripe_batches import map_batches, on_cpu, on_gpu
from stack3d.operations._stripe_estimate import angle_of, check_angle, estimate_stripes
from stack3d.operations._stripe_neighbours import check_neighbours, with_neighbours
from stack3d.operations._stripe_ways import METHODS, found_by, plans_of, stripes_of

Method = Literal["vsnr", "wavelet", "multiscale", "wedge", "pyvsnr"]
Boundary = Literal["reflect", "periodic"]


def _asks(arguments: Mapping[str, Any]) -> bool:
    return bool(arguments.get("angle") == "auto")


def _check(
    da: xr.DataArray, method: Any, angle: Any, strength: Any, neighbours: Any, sigma: Any, filters: Any,
    noise_level: Any, boundary: Any, max_iter: Any, tol: Any, options: Any,
) -> None:  # fmt: skip
    _grey.check_numbers(da, "destripe")
    if not isinstance(method, str) or method not in METHODS:
        raise ValueError(f"method={method!r} is not allowed; it must be one of {tuple(METHODS)}")
    check_angle(angle)
    if isinstance(strength, bool) or not isinstance(strength, Real):
        raise TypeError(f"strength={strength!r} must be a number, not {type(strength).__name__}")
    if not 0 <= float(strength) < np.inf:
        raise ValueError(f"strength={strength!r} must be at least 0")
    check_neighbours(da, neighbours)
    turn = angle if isinstance(angle, Real) else 0.0
    _plans(
        da, method, float(strength), sigma, filters, noise_level, boundary, max_iter, tol, options, angle=float(turn)
    )


@operation(version=6, estimator=estimate_stripes, dear=True, when=_asks, check=_check)
def destripe(
    da: xr.DataArray,
    *,
    estimate: xr.Dataset | None = None,
    method: Method = "vsnr",
    angle: float | Literal["auto"] | None = None,
    strength: float = 1.0,
    neighbours: int = 0,
    sigma: tuple[float, float] | None = None,
    filters: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None,
    noise_level: float | None = None,
    boundary: Boundary | None = None,
    max_iter: int | None = None,
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
    dtype: Any = None,
    device: str | None = None,
) -> xr.DataArray:
    """Take away stripes, such as curtains that the milling beam leaves.

    Parameters
    ----------
    da : DataArray (..., y, x)
    estimate : Dataset, optional
        Made by `estimate_stripes`: gives the direction.
    method : {"vsnr", "wavelet", "multiscale", "wedge", "pyvsnr"}
        How the stripes of a frame are found. ``"vsnr"``: the variational stationary noise remover [1]_. ``"wavelet"``:
        damped bands of details [2]_. ``"multiscale"``: means along the stripes, scale by scale, without what is too
        strong or of another shape [3]_. ``"wedge"``: a mask in Fourier space. ``"pyvsnr"``: the package of that
        name, for comparison, where it is installed.
    angle : float or "auto", optional
        Direction of the stripes: degrees counter-clockwise from the y axis, as seen on the screen with y down.
        ``"auto"``: that of the stack, by `estimate_stripes`; without any the stack is left as it is, with a warning.
        By default that of `estimate`, or 0.
    strength : float
        How much is taken away, relative to the stripes that each frame is measured to have: above 1 takes more, and
        more of what only looks like stripes.
    neighbours : int
        For registered stacks: the stripes of a slice are looked for in what it has and this many slices on either
        side have not, less what those have of their own, so that structure along the stripes stays. Slices marked bad
        (``valid``) are left out of this, and a slice unlike its neighbours is treated alone. In the end each slice is
        looked at alone for what the stripes of the window have in common, no more than they may have.
    sigma : (float, float), optional
        Standard deviations of a stripe across and along, in pixels, of ``"vsnr"`` (by default as measured in each
        frame) and ``"pyvsnr"``.
    filters : sequence of dict, or one dict, optional
        Kinds of stripe for ``"vsnr"`` instead of `angle` and `sigma`, such as ``{"kind": "gabor", "sigma": (1, 200),
        "angle": 5}``, ``{"kind": "dirac", "noise_level": 3}`` or ``{"kind": "pattern", "values": array,
        "noise_level": 3}``. ``noise_level`` is in units of the gradient scale of the frame, and measured where it is
        not given (Gabor only).
    noise_level : float, optional
        Of the filter of ``"pyvsnr"``.
    boundary : {"reflect", "periodic"}, optional
        What ``"vsnr"`` takes to lie beyond the edges; by default stripes reflect at them.
    max_iter : int, optional
        Iterations of ``"vsnr"`` and ``"pyvsnr"``.
    tol : float, optional
        They stop when the largest change is below this, relative to the largest value.
    options : mapping, optional
        Parameters of ``"wavelet"`` (`wavelet`, `level`, `damping`, `boundary`, `shrink`), of ``"multiscale"`` (`scales`,
        `rule`, `length`, `block`, `threshold`, `noise` and others) and of ``"wedge"`` (`kind`, `half_angle`,
        `half_width`, `radii`, `threshold`, `rescale` and others); the page on destriping filters lists them.
    dtype : dtype, optional
        By default that of `da`, rounded and cut to its range.
    device : {"cpu", "gpu", "auto"}, optional
        On a GPU frames go in batches, by its free memory. ``"pyvsnr"`` is refused there.

    Returns
    -------
    DataArray
        Lazy where `da` is. Missing pixels (NaN, or False in the coordinate ``mask``) have no part in finding stripes
        and stay as they are.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed; also for a parameter of another method.

    Warns
    -----
    NoStripesWarning
        When no direction of stripes is found.

    References
    ----------
    .. [1] J. Fehrenbach, P. Weiss and C. Lorenzo, "Variational algorithms to remove stationary noise: applications to
       microscopy imaging", IEEE Trans. Image Process. 21, 4420 (2012). doi:10.1109/TIP.2012.2206037
    .. [2] B. Muench, P. Trtik, F. Marone and M. Stampanoni, "Stripe and ring artifact removal with combined
       wavelet-Fourier filtering", Opt. Express 17, 8567 (2009). doi:10.1364/OE.17.008567
    .. [3] Kreinin, Gunn, Chklovskii and Wu, bioRxiv (2023) and Microsc. Microanal. 30, 889 (2024).
       doi:10.1101/2023.09.14.557785

    Examples
    --------
    >>> clean = stack.stack3d.destripe(angle=2.5)
    >>> clean.dtype == stack.dtype
    True
    """
    out_dtype = result_dtype(dtype, da)
    turn = angle_of(estimate, angle)
    if turn is None:
        cast = map_frames(da, _cast, arguments={"dtype": out_dtype}, dtype=out_dtype, device=device, label="destripe")
        return rebuild(da, cast)
    plans = _plans(da, method, strength, sigma, filters, noise_level, boundary, max_iter, tol, options, angle=turn)
    device = on_cpu(da, device) if method == "pyvsnr" else device
    if "mask" in da.coords:
        return _measured_only(da, method, plans, neighbours, out_dtype, device)
    return rebuild(da, _run(da, method, plans, neighbours, out_dtype, device))


def _run(
    da: xr.DataArray, method: str, plans: tuple[Any, Any], neighbours: int, dtype: np.dtype[Any], device: str | None
) -> Any:
    if neighbours:
        return with_neighbours(da, method, plans, neighbours, dtype, device)
    arguments = {"method": method, "plan": plans[0], "dtype": dtype}
    if on_gpu(da, device):
        return map_batches(da, _cleaned_batch, arguments=arguments, dtype=dtype, label="destripe")
    return map_frames(da, _cleaned, arguments=arguments, dtype=dtype, device=device, label="destripe", writes=True)


def _measured_only(
    da: xr.DataArray, method: str, plans: tuple[Any, Any], neighbours: int, dtype: np.dtype[Any], device: str | None
) -> xr.DataArray:
    """Return the result for a stack with a ``mask``: its other pixels stay as they are, unless rounding changes them."""
    wide = kernels.stripe_frame.working_dtype(da.dtype, dtype)
    whole = da.astype(wide)
    found = rebuild(da, _run(whole.where(da["mask"]), method, plans, neighbours, wide, device))
    joined = found.where(da["mask"], whole).transpose(*da.dims)
    cast = map_frames(joined, _cast, arguments={"dtype": dtype}, dtype=dtype, device=device, label="destripe")
    return rebuild(da, cast)


def _cast(frame: Any, dtype: np.dtype[Any]) -> tuple[Any, int]:
    return kernels.cast.cast_frame(frame, dtype)


def _cleaned(frame: Any, method: str, plan: Any, dtype: np.dtype[Any], out: Any = None) -> tuple[Any, int]:
    filled, weight = kernels.stripe_frame.filled(frame)
    return kernels.stripe_frame.subtract(frame, found_by(filled, method, plan, weight), dtype, out)


def _cleaned_batch(frames: Any, method: str, plan: Any, dtype: np.dtype[Any]) -> tuple[Any, int]:
    """`_cleaned` of frames (n, y, x)."""
    filled, weight = kernels.stripe_frame.filled_batch(frames)
    return kernels.stripe_frame.subtract(frames, stripes_of(filled, method, plan, weight), dtype)


def _sigma(sigma: Any) -> tuple[float, float]:
    if np.shape(sigma) != (2,) or not all(isinstance(s, Real) and 0 < float(s) < np.inf for s in sigma):
        raise ValueError(f"sigma={sigma!r} must be two positive numbers (across, along), in pixels")
    return float(sigma[0]), float(sigma[1])


def _filters(filters: Any) -> tuple[Any, ...]:
    items = [filters] if isinstance(filters, Mapping) else filters
    if not isinstance(items, Sequence) or not all(isinstance(item, Mapping) for item in items):
        raise TypeError(
            f"filters={filters!r} must be a list of mappings, such as [{{'kind': 'gabor', 'sigma': (1, 200)}}]"
        )
    found = []
    for item in items:
        try:
            found.append(kernels.vsnr.filter_from(item))
        except (TypeError, ValueError) as error:
            if str(error).startswith("filters"):
                raise
            # What Python says of values that no comparison or conversion takes.
            raise TypeError(f"filters: a value of {dict(item)!r} is of the wrong type ({error})") from error
    return tuple(found)


def _options(options: Any) -> dict[str, Any]:
    if options is None:
        return {}
    if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
        raise TypeError(f"options={options!r} must be a mapping of names to values, such as {{'level': 4}}")
    for name in ("angle", "strength", "shape", "difference"):
        if name in options:
            raise ValueError(f"options={options!r} must not hold {name!r}: it is given by itself, or by the stack")
    return dict(options)


def _plans(
    da: xr.DataArray, method: str, strength: float, sigma: Any, filters: Any, noise_level: Any, boundary: Any,
    max_iter: Any, tol: Any, options: Any, *, angle: float,
) -> tuple[Any, Any]:  # fmt: skip
    given = {
        "sigma": None if sigma is None else _sigma(sigma),
        "filters": None if filters is None else _filters(filters),
        "noise_level": noise_level,
        "boundary": boundary,
        "max_iter": max_iter,
        "tol": tol,
    }
    return plans_of(method, (da.sizes["y"], da.sizes["x"]), angle, float(strength), given, _options(options))
