"""The report: one page of HTML that shows what a stack is, what was done to it, and whether it helped."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr


def report(
    da: xr.DataArray,
    path: str | os.PathLike[str],
    *,
    before: xr.DataArray | None = None,
    run: str | os.PathLike[str] | None = None,
    estimates: Mapping[str, xr.Dataset] | None = None,
    channels: Sequence[str] | None = None,
    slices: int = 24,
    quality: bool = True,
    title: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a report: one page of HTML, complete in itself, that opens anywhere, also without a network.

    It shows the stack before and after with a divider and a slider, cut planes, grey values of each slice, histograms,
    positions, measures of quality, each step with its parameters and the figures of its estimate, time, memory and
    warnings of the run that made it.

    Parameters
    ----------
    da : DataArray ([channel], [z], y, x)
        The stack, as it is now. Lazy ones stay so: a few slices are computed at a time.
    path : path
        The page, ``.html``. An earlier report of the same name is replaced.
    before : DataArray, optional
        The stack before: the raw one. It may differ in slices, positions, pixels and grey values; slices are matched by
        their position, channels by their name.
    run : path, optional
        The folder that `stack3d.run` keeps beside its result, ``NAME.run``: its estimates, time, memory and warnings are
        shown.
    estimates : mapping of Dataset, optional
        Estimates to show, each under its name, such as ``{"drift": transforms}``.
    channels : sequence of str, optional
        Which channels are shown; by default the first four.
    slices : int, default 24
        How many slices the slider has, for each channel, at most 100. Larger ones are shrunk and packed harder, so that
        the page stays below 10 MB.
    quality : bool, default True
        Whether quality is measured, on a sample.
    title : str, optional
        By default the name of the stack.
    overwrite : bool
        Whether a file may be replaced that is no report.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is allowed.
    FileExistsError
        When `path` is there and is no report.

    Warns
    -----
    ReportWarning
        When a figure cannot be drawn; the page says so in its place.

    Notes
    -----
    Up to 1 GiB of evenly spread slices of each stack and channel are read for the curves (32 slices at least, 1000 at
    most), and `slices` for the pictures. Memory holds the frames in work, one for each thread, and the pictures.

    Examples
    --------
    >>> page = stack.stack3d.invert().stack3d.report("inverted.html", before=stack)
    >>> "invert" in page.read_text(encoding="utf-8")
    True
    """
    return report_of(
        da,
        path,
        {},
        before=before,
        run=run,
        estimates=estimates,
        channels=channels,
        slices=slices,
        quality=quality,
        title=title,
        overwrite=overwrite,
    )


def report_of(
    da: xr.DataArray,
    path: str | os.PathLike[str],
    names: Mapping[str, str],
    *,
    before: xr.DataArray | None = None,
    run: str | os.PathLike[str] | None = None,
    estimates: Mapping[str, xr.Dataset] | None = None,
    channels: Sequence[str] | None = None,
    slices: int = 24,
    overwrite: bool = False,
    **shown_as: Any,
) -> Path:
    """Write a report of stacks that are at known paths, ``before`` and ``after`` of `names`; see `report`."""
    from stack3d.reporting import _notes, _page, _write

    target = _page.check_target(path, overwrite)
    shown = _write.check_call(da, before, channels, slices, estimates)
    notes = _notes.read(run)
    written, failed = _write.write(
        target, da, before, notes, {}, shown=shown, given=estimates, slices=slices, names=names, **shown_as
    )
    _write.warn_of(written, failed)
    return written
