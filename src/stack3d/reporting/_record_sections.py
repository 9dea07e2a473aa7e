"""Sections of the record: what the stack is, what was done to it, how the run went, how to do it again."""

from __future__ import annotations

import functools
import inspect
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from stack3d._provenance import OPERATIONS
from stack3d._records import call_string, decode_value, encode_value, numbers
from stack3d.grid import SPATIAL, spacing_of, units_of
from stack3d.model import metadata
from stack3d.reporting import _estimate_figures, _spectra, _step_figures, _times
from stack3d.reporting._model import Block, Facts, Figure, Fold, Items, Section, Table, Text, Tiles
from stack3d.reporting._number_sections import change, median
from stack3d.reporting._svg import Curve, line_chart
from stack3d.reporting._tried import figures, tried
from stack3d.reporting._words import amount, duration, number, plain, quoted, unit_shown

_ABOUT_PASSES = (
    "Passes over the stack. Blocks go through all steps of a pass at once: time is known of passes, not of the steps in "
    "one. What was used for the first time was compiled in it."
)
_NOT_KEPT = "The estimate of this step is not kept with the stack; a run keeps it beside its result."


def overview(facts: Facts) -> Section | None:
    """Return what comes first: a few numbers, and both stacks in a table."""
    after, state = facts.after, facts.notes.state
    tiles = [("size", " × ".join(str(n) for n in after.shape), f"{after.dtype}, {amount(after.nbytes)}")]
    tiles.append(("voxel", *_voxel(after)))
    if facts.records:
        last = str(_context(facts.records[-1]).get("time", "")).replace("T", " ").removesuffix("Z")
        tiles.append(("steps", str(len(_own_steps(facts))), f"last on {last} UTC" if last else ""))
    if "seconds" in state:
        tiles.append(("run", duration(state["seconds"]), _memory_said(state)))
    tiles += list(_quality_tiles(facts))
    bad = int((~facts.channels[0].pair.after.valid).sum())
    if bad:
        tiles.append(("bad slices", str(bad), f"of {after.sizes.get('z', 1)}"))
    if facts.notes.warnings or facts.spoken:
        count = len(facts.notes.warnings) + len(facts.spoken)
        tiles.append(("warnings", str(count), "listed below"))
    stacks = [("before", facts.before), ("after", after)]
    shown = [(name, da) for name, da in stacks if da is not None]
    rows = [
        (label, *(_fact(da, label) for _, da in shown))
        for label in ("size", "dtype", "memory", "voxel", "extent", "z", "channels")
    ]
    rows = [row for row in rows if any(cell != "–" for cell in row[1:])]
    blocks: list[Block] = [Tiles(tiles), Table(("", *(name for name, _ in shown)), rows, "The stack.")]
    blocks += [Text(line, note=True) for line in facts.left_out]
    return Section("overview", "Overview", blocks)


def _peak(state: Mapping[str, Any]) -> float | None:
    known = [peak for step in (*state.get("steps", ()), state) if (peak := step.get("peak_memory"))]
    return float(max(known)) if known else None


def _memory_said(state: Mapping[str, Any]) -> str:
    peak = _peak(state)
    if not peak:
        return ""
    of_workers = state.get("machine", {}).get("peak_memory_of_workers")
    return f"peak memory {amount(peak)}" + (f", workers {of_workers}" if of_workers else "")


def _whose_memory(state: Mapping[str, Any]) -> str:
    machine: Mapping[str, Any] = state.get("machine", {})
    if machine.get("scheduler") in ("threads", "synchronous"):
        return "One process did all of it: the memory is its own."
    if "peak_memory_of_workers" in machine:
        return "The memory of passes is that of the process that led; its workers have a line of their own."
    return "The memory is that of the process that led: what its workers took is not known."


def _quality_tiles(facts: Facts) -> Iterator[tuple[str, str, str]]:
    of = f", {plain(facts.channels[0].pair.channel)}" if len(facts.channels) > 1 else ""
    for quantity in facts.channels[0].quantities:
        if quantity.name not in ("correlation of neighbours", "streak index", "resolution") or quantity.before is None:
            continue
        before, after = median(quantity.before[1]), median(quantity.after[1])
        if np.isfinite(before) and np.isfinite(after) and (before or after):
            unit = "" if quantity.unit == "1" else f" {quantity.unit}"
            values = f"{number(before, 3)} → {number(after, 3)}{unit}"
            yield f"{quantity.name}{of}", values, change(before, after, quantity.better)


def _voxel(da: xr.DataArray) -> tuple[str, str]:
    dims = [dim for dim in SPATIAL if dim in da.dims]
    return _lengths(da, {dim: spacing_of(da, dim) for dim in dims})


def _lengths(da: xr.DataArray, lengths: Mapping[str, float]) -> tuple[str, str]:
    """Return lengths along the axes, and what they are in; each has its unit where these differ."""
    units = {dim: unit_shown(units_of(da, dim), "px") for dim in lengths}
    along = f"along {', '.join(lengths)}"
    if len(set(units.values())) > 1:
        return " × ".join(f"{number(length)} {units[dim]}" for dim, length in lengths.items()), along
    unit = "pixel, not calibrated" if "px" in units.values() else "".join(set(units.values()))
    return " × ".join(number(length) for length in lengths.values()), f"{unit} {along}"


def _fact(da: xr.DataArray, label: str) -> str:
    if label == "size":
        return ", ".join(f"{dim} {n}" for dim, n in da.sizes.items())
    if label == "dtype":
        return str(da.dtype)
    if label == "memory":
        return amount(da.nbytes)
    if label == "channels":
        return ", ".join(str(name) for name in np.atleast_1d(da["channel"].values)) if "channel" in da.coords else "–"
    if label == "voxel":
        return " ".join(_voxel(da))
    dims = [dim for dim in SPATIAL if dim in da.coords]
    if label == "z":
        if "z" not in da.dims or "z" not in da.coords or da.sizes["z"] < 2:
            return "–"
        steps = np.diff(da["z"].values)
        even = np.ptp(steps) <= 1e-6 * np.mean(steps)
        unit = unit_shown(units_of(da, "z"), "px")
        return "even" if even else f"uneven, {number(steps.min())} to {number(steps.max())} {unit} apart"
    extents = {dim: float(np.ptp(np.atleast_1d(da[dim].values))) + spacing_of(da, dim) for dim in dims}
    shown, unit = _lengths(da, extents)
    return f"{shown} {unit.rpartition('along')[0]}".strip() if extents else "–"


def _context(record: Mapping[str, Any]) -> Mapping[str, Any]:
    context: Mapping[str, Any] = record.get("context", {})
    return context


def _own_steps(facts: Facts) -> list[Mapping[str, Any]]:
    return [record for record in facts.records if not _context(record).get("inserted")]


def steps(facts: Facts) -> Section | None:
    """Return each step with its parameters, its time, and the figures of its estimate."""
    if not facts.records and not facts.estimates:
        return Section("steps", "Steps", [Text("No steps are recorded in this stack.")])
    passes, ran = _times.passes_of(facts.notes.state), _times.names_of(facts.notes.state, facts.records)
    begin = len(facts.records) - len(ran)
    by_number = {estimate.number: estimate for estimate in facts.estimates}
    folds: list[Block] = []
    for k, (place, record) in enumerate(zip(numbers(facts.records), facts.records, strict=True)):
        name, times = str(record["operation"]), _times.of_step(k + 1 - begin, passes, ran)
        seconds = _times.shortly(k + 1 - begin, passes)
        inserted = "conversion between steps" if _context(record).get("inserted") else ""
        blocks: list[Block] = [Text(_shown_call(record), code=True)]
        if k in by_number:
            blocks += _estimate_figures.blocks(by_number[k].data, _decoded(record))
        elif "estimate" in record:
            blocks.append(Text(_NOT_KEPT, note=True))
        if name == "destripe":
            blocks += tried("The spectra", lambda: _spectra_of(facts))
        if name in _step_figures.LINED:
            blocks += tried(
                "The profiles along x and y", functools.partial(_step_figures.along_axes, facts, f"{place}. {name}")
            )
        count = figures(blocks)
        drawn = f"{count} figure{'s' if count > 1 else ''}" if count else ""
        said = " · ".join(x for x in (inserted, drawn, seconds) if x)
        folds.append(
            Fold(f"{place}. {name}" if place else name, [*blocks, _parameters(record), _facts_of(record, times)], said)
        )
    folds += [
        Fold(estimate.step, _estimate_figures.blocks(estimate.data), "given", opened=True)
        for estimate in facts.estimates
        if estimate.number < 0
    ]
    return Section("steps", "Steps and their estimates", folds)


def _spectra_of(facts: Facts) -> list[Block]:
    """Return the spectra of each channel, under its name where there are several."""
    several = len(facts.channels) > 1
    return [
        figure
        for channel in facts.channels
        for figure in _spectra.figures(channel.spectra, f", {plain(channel.pair.channel)}" if several else "")
    ]


def _decoded(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a step that figures of its estimate ask for."""
    return {key: decode_value(record["parameters"][key]) for key in ("crop", "canvas") if key in record["parameters"]}


def _shown_call(record: Mapping[str, Any]) -> str:
    given = {key: value for key, value, usual in _compared(record) if not usual}
    return call_string({"operation": record["operation"], "parameters": given})


def _compared(record: Mapping[str, Any]) -> list[tuple[str, Any, bool]]:
    """Return name, recorded value, and whether it is the default, of each parameter."""
    known = OPERATIONS.get(str(record["operation"]))
    defaults = (
        {} if known is None else {p.name: p.default for p in inspect.signature(known.function).parameters.values()}
    )
    found = []
    for key, value in record["parameters"].items():
        default = defaults.get(key, inspect.Parameter.empty)
        try:
            usual = default is not inspect.Parameter.empty and encode_value(default) == value
        except TypeError:
            usual = False
        found.append((key, value, usual))
    return found


def _parameters(record: Mapping[str, Any]) -> Table:
    rows = sorted(
        ((key, _value(value), "default" if usual else "given") for key, value, usual in _compared(record)),
        key=lambda r: r[2] != "given",
    )
    return Table(("parameter", "value", ""), rows, "Parameters.")


def _value(value: Any) -> str:
    if isinstance(value, dict) and next(iter(value), "") in ("array", "stack", "dataset"):
        return f"<{next(iter(value))}>"
    try:
        return quoted(decode_value(value))
    except (ValueError, KeyError, TypeError):
        return quoted(value)


def _facts_of(record: Mapping[str, Any], times: Sequence[tuple[str, str]]) -> Table:
    context = _context(record)
    rows = [("version of the operation", str(record.get("version", "–")))]
    for label, key in (("input", "input"), ("output", "output")):
        if key in record:
            sizes = " × ".join(str(n) for n in record[key]["sizes"].values())
            rows.append((label, f"{sizes}, {record[key]['dtype']}"))
    if "time" in context:
        rows.append(("recorded (UTC)", str(context["time"]).replace("T", " ").removesuffix("Z")))
    rows.append(("made by", _libraries(context)))
    rows += times
    if "estimate" in record:
        rows.append(("digest of the estimate", str(record["estimate"].get("digest", "–"))))
    return Table(("fact", "value"), rows, "Record.")


def _libraries(context: Mapping[str, Any]) -> str:
    parts = [f"{name} {context[name]}" for name in ("stack3d", "numpy", "xarray", "python") if name in context]
    where = " ".join(str(context[name]) for name in ("host", "platform") if name in context)
    return ", ".join(parts) + (f", on {where}" if where else "")


def run(facts: Facts) -> Section | None:
    """Return how the run went: passes, time, memory, warnings."""
    state = facts.notes.state
    blocks: list[Block] = []
    passes = _times.passes_of(state)
    if passes:
        names = _times.names_of(state, facts.records)
        rows = [
            (_times.said(p, names), _times.steps_said(p, names), duration(p.seconds), amount(p.peak_memory))
            for p in passes
        ]
        rest = float(state.get("seconds", np.nan)) - sum(p.seconds or 0.0 for p in passes)
        if rest >= 0:
            rows.append(("between the passes", "", duration(rest), ""))
        blocks.append(Table(("pass", "steps computed in it", "time", "peak memory by its end"), rows, _ABOUT_PASSES))
        peaks = [(p.peak_memory or np.nan) / 1e6 for p in passes]
        ends = np.cumsum([p.seconds or 0.0 for p in passes])
        if len(passes) > 1 and np.isfinite(peaks).any():
            chart = line_chart(
                [Curve("peak memory", ends, peaks, "c0")], x_label="time in passes / s", y_label="peak memory / MB"
            )
            blocks.append(Figure(chart, "Largest resident memory of the process that ran, at the end of each pass."))
    if "seconds" in state:
        whole = [("all of it", duration(state["seconds"])), ("peak memory", amount(_peak(state)))]
        whole += [(plain(str(key)), str(value)) for key, value in state.get("machine", {}).items()]
        blocks.append(Table(("run", "value"), whole, f"The run. {_whose_memory(state)}"))
    lines = [*facts.notes.warnings, *facts.spoken]
    if lines:
        blocks += [Text("Warnings", code=False), Items(lines)]
    elif state:
        blocks.append(Text("No warnings were raised."))
    return Section("run", "Time, memory, warnings", blocks) if blocks else None


def _raw_opened(facts: Facts) -> str:
    """Return the arguments of `open_stack` that give the raw stack, as code; nothing where they are not known."""
    opening = dict(tomllib.loads(facts.notes.recipe).get("input", {})) if facts.notes.recipe else {}
    path = facts.names.get("before") or opening.get("path")
    if not path:
        return ""
    given = opening if path == opening.get("path") else {}
    more = "".join(f", {key}={value!r}" for key, value in given.items() if key != "path")
    return f"{path!r}{more or facts.names.get('opening', '')}"


def again(facts: Facts) -> Section | None:
    """Return how to make the result again, the recipe, and what is known of the acquisition."""
    blocks: list[Block] = []
    if facts.records:
        said = "Every step is recorded in the file. The same result from the raw stack, equal to the bit on the same machine"
        raw, own = _raw_opened(facts), facts.names.get("after")
        if not raw or not own:
            said += "; RAW and CLEAN stand for the paths of both, which this page was not told"
        lines = ["import stack3d", f"raw = stack3d.open_stack({raw or repr('RAW')})"]
        lines += [f"clean = stack3d.open_stack({own or 'CLEAN'!r})", "again = stack3d.replay(raw, clean)"]
        blocks += [Text(f"{said}:"), Text("\n".join(lines), code=True)]
    if facts.notes.recipe:
        blocks.append(Fold("Recipe", [Text(facts.notes.recipe, code=True)], "TOML"))
    known = metadata(facts.after)
    rows = [
        (plain(str(key)), quoted(value) if not isinstance(value, str) else value)
        for key, value in known.items()
        if key != "vendor_metadata"
    ]
    if rows:
        blocks.append(Table(("acquisition", "value"), rows, "What is known of the acquisition."))
    attrs = [
        (str(k), str(v)[:200])
        for k, v in facts.after.attrs.items()
        if k not in known and not str(k).startswith("stack3d_")
    ]
    attrs = [(key, value) for key, value in attrs if key != "history"]
    if attrs:
        blocks.append(Fold("Other attributes", [Table(("attribute", "value"), attrs)], str(len(attrs))))
    history = facts.after.attrs.get("history")
    if history:
        blocks.append(Fold("History", [Text(str(history), code=True)]))
    return Section("again", "Do it again", blocks) if blocks else None
