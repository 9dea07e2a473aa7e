"""What is known of the time of a run: that of each pass over the stack, and which steps were computed in it.

Steps are lazy, and blocks stream through all of them at once: calling one takes no time, and the pass that needs its
pixels takes that of all steps since the last checkpoint. A time of one step alone there is only for its estimate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from stack3d._records import numbers
from stack3d.reporting._words import duration, plain


class Pass(NamedTuple):
    """A pass; steps count from 1, and `first` is beyond `last` where it computes none."""

    kind: str
    name: str
    seconds: float | None
    peak_memory: float | None
    first: int
    last: int
    of: int

    @property
    def steps(self) -> range:
        """The steps that blocks go through in this pass."""
        return range(self.first, self.last + 1)


def names_of(state: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the steps of a run by name, each with its number in the recipe."""
    count = next((p["step"] - 1 for p in state.get("passes", ()) if p.get("kind") == "result" and p.get("step")), 0)
    begin = max(0, len(records) - count)
    places = numbers(records)
    names = [
        f"{place}. {record['operation']}" if place else str(record["operation"])
        for place, record in zip(places, records, strict=True)
    ]
    return names[begin:] if count else []


def passes_of(state: Mapping[str, Any]) -> list[Pass]:
    """Return the passes of a run in their order; without steps where the run did not note them."""
    found, held = [], int(state.get("resumed_after", 0))
    for note in state.get("passes", ()):
        kind, step = str(note.get("kind")), int(note.get("step", 0))
        last = step if kind == "checkpoint" else step - 1
        first = held + 1 if step else 1
        known = (note.get("seconds"), note.get("peak_memory"))
        found.append(Pass(kind, str(note.get("name")), *known, first, max(last, 0), step))
        held = step if kind == "checkpoint" else held
    return found


def said(one: Pass, names: Sequence[str]) -> str:
    """Return what a pass is for; `names` are those of the steps, each with its number."""
    of = names[one.of - 1] if 0 < one.of <= len(names) else plain(one.name)
    return {"estimate": f"estimate of {of}", "checkpoint": f"checkpoint after {of}"}.get(one.kind, plain(one.name))


def steps_said(one: Pass, names: Sequence[str]) -> str:
    """Return the steps that were computed in a pass, from the first to the last."""
    there = [names[k - 1] for k in one.steps if k <= len(names)]
    if not one.of:
        return "not noted"
    if len(there) < 2:
        return there[0] if there else "none: read as it is"
    return f"{there[0]} to {there[-1]}"


def of_step(number: int, passes: Sequence[Pass], names: Sequence[str]) -> list[tuple[str, str]]:
    """Return what is known of the time of one step, counted from 1: its estimate, and the passes it is computed in."""
    rows = [
        ("time of its estimate", duration(one.seconds) + (f", {steps_said(one, names)} among it" if one.steps else ""))
        for one in passes
        if one.kind == "estimate" and one.of == number
    ]
    for one in passes:
        if number in one.steps:
            time = duration(one.seconds)
            rows.append(("computed in", f"{said(one, names)}, {time} with all of its steps"))
    return rows


def shortly(number: int, passes: Sequence[Pass]) -> str:
    """Return the time of one step for its heading: that of its estimates, which alone is known by itself."""
    own = [one.seconds or 0.0 for one in passes if one.kind == "estimate" and one.of == number]
    return f"estimate {duration(sum(own))}" if own else ""
