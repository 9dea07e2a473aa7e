"""The main job on a stack whose truth is known: what ``stack3d demo`` runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

import stack3d
from stack3d.grid import spacing_of
from stack3d.reporting._report import report_of
from stack3d.synthetic import SyntheticStack, make_stack

_DEFECTS = {
    "drift": True,
    "jumps": True,
    "gain": True,
    "offset": True,
    "noise": True,
    "uneven_z": True,
}
_SAMPLE = "synthetic stack of stack3d demo"
_SHAPE = (100, 512, 512)


def run(out: Path, *, seed: int = 0) -> int:
    """Make, correct, save, reopen and judge a stack; print a line a step. Return the exit status."""
    out.mkdir(parents=True, exist_ok=True)
    for path in (out / "raw.zarr", out / "clean.zarr"):
        if path.exists() and not _is_ours(path):
            raise FileExistsError(f"{str(path)!r} is there and is not of this demo; choose another folder with --out")
    start = time.perf_counter()
    made = make_stack(_SHAPE, defects=_DEFECTS, seed=seed, lazy=True)
    raw = made.stack.assign_attrs(sample=_SAMPLE).stack3d.checkpoint(out / "raw.zarr", overwrite=True)
    print(f"made {out / 'raw.zarr'}: {' x '.join(map(str, raw.shape))} {raw.dtype} with {', '.join(_DEFECTS)}")
    print("errors are rms differences from the truth, in percent of its range (0.1 % to 99.9 % quantile)")
    print(f"{'step':<44}{'error / %':>10}{'dB':>7}{'s':>7}")
    _report("raw", raw, made, time.perf_counter() - start)
    step, da = time.perf_counter(), raw
    for name, correct in _STEPS.items():
        da = correct(da)
        _report(name, da, made, time.perf_counter() - step)
        step = time.perf_counter()
    path = da.stack3d.save(out / "clean.zarr", overwrite=True)
    print(f"saved {path} ({time.perf_counter() - step:.1f} s)")
    step = time.perf_counter()
    names = {"before": str((out / "raw.zarr").absolute()), "after": str(path.absolute())}
    page = report_of(stack3d.open_stack(path), out / "report.html", names, before=raw, title="stack3d demo")
    print(f"report {page}: open it in a browser ({time.perf_counter() - step:.1f} s)")
    again = stack3d.replay(raw, stack3d.open_stack(path))
    same = bool(np.array_equal(again.isel(z=[3, -3]).values, da.isel(z=[3, -3]).values))
    print(f"replayed from its record, two slices: {'equal to the bit' if same else 'DIFFERENT'}")
    whole, bent = _position_errors(da, made)
    print(f"slice positions: {whole:.2f} px rms from the truth, {bent:.2f} px after a straight line over z")
    print("(a straight line is what images alone cannot tell from structure that runs obliquely)")
    print(f"{time.perf_counter() - start:.1f} s in all")
    return 0 if same else 1


_STEPS: dict[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "level_slices(window=41)": lambda da: da.stack3d.level_slices(window=41),
    "register(crop='common')": lambda da: da.stack3d.register(crop="common"),
    "resample(dz='10 nm')": lambda da: da.stack3d.resample(dz="10 nm"),
}


def _is_ours(path: Path) -> bool:
    try:
        return bool(stack3d.open_stack(path).attrs.get("sample") == _SAMPLE)
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _position_errors(da: xr.DataArray, made: SyntheticStack) -> tuple[float, float]:
    """Return the rms error of the measured positions in pixels, as it is and after a straight line over z."""
    z, pixel = da["z"].values, spacing_of(da, "x")
    error = np.stack(
        [da[f"shift_{d}"].values - np.interp(z, made.stack["z"], made.defects[f"shift_{d}"].values) for d in ("y", "x")]
    )
    line = np.stack([np.polyval(np.polyfit(z, row, 1), z) for row in error])
    whole, bent = (float(np.sqrt(np.mean(values**2))) / pixel for values in (error, error - line))
    return whole, bent


def _report(name: str, da: xr.DataArray, made: SyntheticStack, seconds: float) -> None:
    # A third of the slices tells the error as well as all of them.
    some = da.isel(z=slice(1, None, 3))
    truth = made.truth_on(some).values
    error = float(np.sqrt(np.mean((some.values.astype(np.float32) - truth) ** 2)))
    low, high = (float(v) for v in np.quantile(truth[::4, ::4, ::4], (0.001, 0.999)))
    print(
        f"{name:<44}{100 * error / (high - low):>10.2f}{20 * np.log10((high - low) / error):>7.1f}{seconds:>7.1f}",
        flush=True,
    )
