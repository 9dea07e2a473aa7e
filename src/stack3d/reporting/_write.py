"""From stacks to a page: what is looked at, which sections there are, how small the pictures must be."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from stack3d import estimates as estimates_of
from stack3d._records import numbers, provenance
from stack3d._warn import warn
from stack3d.execution import in_threads
from stack3d.reporting import (
    ReportWarning,
    _notes,
    _number_sections,
    _oblique,
    _page,
    _picture_sections,
    _record_sections,
    _volume_section,
)
from stack3d.reporting._images import PACKINGS, Packing, packing_for
from stack3d.reporting._looked import HELD_BYTES, look
from stack3d.reporting._matched import after_a_step, channels_of, check, matched
from stack3d.reporting._model import Block, Channel, Estimate, Facts, Section
from stack3d.reporting._stages import StageLook, look_at_stages
from stack3d.reporting._step_figures import LINED
from stack3d.reporting._tried import faults, tried
from stack3d.reporting._words import plain

_MOST_CHANNELS = 4
# Of all pictures together, packed and written as text; the rest of a page is small.
_ROOM = 6e6

# A section is a function of the facts, and None where it has nothing to show. They come in this order.
_PICTURES: tuple[Callable[[Facts, Packing], Section | None], ...] = (
    _picture_sections.comparison,
    _picture_sections.cut_planes,
    _volume_section.volume,
    _picture_sections.steps_in_pictures,
)
_NUMBERS: tuple[Callable[[Facts], Section | None], ...] = (
    _number_sections.quality,
    _number_sections.profiles,
    _number_sections.histograms,
    _number_sections.positions,
    _record_sections.steps,
    _record_sections.run,
    _record_sections.again,
)


def write(
    target: Path,
    da: xr.DataArray,
    before: xr.DataArray | None,
    notes: _notes.RunNotes,
    stages: Mapping[str, xr.DataArray],
    *,
    shown: Sequence[str] | None = None,
    given: Mapping[str, xr.Dataset] | None = None,
    slices: int = 24,
    quality: bool = True,
    title: str | None = None,
    names: Mapping[str, str] | None = None,
) -> tuple[Path, list[str]]:
    """Write a page, and return it with what could not be drawn; `stages` is the stack after each step by its name."""
    everything = channels_of(da)
    shown = list(shown or everything[:_MOST_CHANNELS])
    records = provenance(da)
    known = _estimates(records, notes, given or {})
    since = _since(records, before)
    thickness = next((e.data for e in known if e.step == "resample" and e.data.attrs.get("kind") == "thickness"), None)
    longest = PACKINGS[0].longest if len(shown) * slices <= 32 else 512 if len(shown) * slices <= 64 else 384
    striped = any(record["operation"] == "destripe" for record in since)
    looked = [
        look(
            matched(da, before, channel, since, thickness),
            slices=slices,
            longest=longest,
            quality=quality,
            spectra_too=striped,
            room=HELD_BYTES / len(shown),
        )
        for channel in shown
    ]
    left_out = []
    if len(shown) < len(everything):
        left_out.append(f"Channels {', '.join(shown)} of {', '.join(everything)} are shown.")
    left_out += _oblique.hints(known, numbers(records))
    after_steps = [_looks(stages, channel, before) for channel in looked]
    facts = Facts(
        title=str(title or (da.name if da.name is not None else "stack")),
        after=da,
        before=before,
        records=records,
        notes=notes,
        estimates=known,
        channels=looked,
        left_out=left_out,
        stages=[looks for looks, _ in after_steps],
        raw=[raw for _, raw in after_steps],
        names=names or {},
    )
    page, failed = _fitting(facts)
    return _page.save(target, page), failed


def warn_of(page: Path, failed: Sequence[str]) -> None:
    """Warn of what could not be drawn, which the page says too."""
    for line in failed:
        warn(f"the report {str(page)!r} lacks a figure: {line}", ReportWarning)


def check_call(da: Any, before: Any, channels: Any, slices: Any, estimates: Any) -> list[str] | None:
    """Raise unless the arguments of a report make sense; return the channels that were chosen."""
    check(da, "da")
    if before is not None:
        check(before, "before")
    if isinstance(slices, bool) or not isinstance(slices, int) or not 1 <= slices <= 100:
        raise ValueError(f"slices={slices!r} must be a whole number from 1 to 100")
    for name, estimate in (estimates or {}).items():
        if not isinstance(estimate, xr.Dataset):
            raise TypeError(f"estimates[{name!r}] must be a Dataset, not {type(estimate).__name__}")
    if channels is None:
        return None
    known = channels_of(da)
    chosen = [channels] if isinstance(channels, str) else [str(name) for name in channels]
    if known == [""] or not chosen or set(chosen) - set(known):
        raise ValueError(
            f"channels={channels!r} must be names among {[name for name in known if name] or 'none: there are no channels'}"
        )
    return chosen


def _since(records: Sequence[Mapping[str, Any]], before: xr.DataArray | None) -> Sequence[Mapping[str, Any]]:
    """Return the records of the steps between `before` and the result."""
    first = provenance(before) if before is not None else []
    return records[len(first) :] if list(records[: len(first)]) == first else records


def _estimates(
    records: Sequence[Mapping[str, Any]], notes: _notes.RunNotes, given: Mapping[str, xr.Dataset]
) -> list[Estimate]:
    """Return all estimates that are known: kept by the run, travelling in the record, and given."""
    found = []
    offset = len(records) - len(notes.steps)
    matching = offset >= 0 and [r["operation"] for r in records[offset:]] == [s.get("operation") for s in notes.steps]
    for k, record in enumerate(records):
        data = notes.estimate_of(k - offset) if matching and k >= offset else None
        travelling = record.get("estimate", {}).get("data")
        if data is None and travelling is not None:
            data = estimates_of.decode(travelling)
        if data is not None:
            found.append(Estimate(str(record["operation"]), k, data))
    return [*found, *(Estimate(str(name), -1, data) for name, data in given.items())]


def _looks(
    stages: Mapping[str, xr.DataArray], channel: Channel, before: xr.DataArray | None
) -> tuple[dict[str, StageLook], StageLook | None]:
    """Return what is shown of a channel after each step, and of the raw stack where the first step needs it."""
    if not stages:
        return {}, None
    pair, k = channel.pair, channel.slices[channel.middle]
    shape = channel.pictures["after"].shape[1:]
    there = [(da, pair.channel if pair.channel in channels_of(da) else "") for da in stages.values()]
    sides = [after_a_step(da, name) for da, name in there]
    # What comes after the last step was read already, rounded as it is kept.
    sides[-1] = pair.after if sides[-1].da.shape == pair.after.da.shape else sides[-1]
    drawn = [name.partition(". ")[2] in LINED for name in stages]
    lined = [here or after for here, after in zip(drawn, [*drawn[1:], False], strict=True)]
    from_raw = before is not None and drawn[0] and next(iter(stages)).startswith("1. ")
    if before is not None and from_raw:
        name = pair.channel if pair.channel in channels_of(before) else ""
        sides, lined = [after_a_step(before, name), *sides], [True, *lined]
    looks = look_at_stages(sides, pair.after, (shape[0], shape[1]), float(pair.after.places["z"][k]), lined)
    return dict(zip(stages, looks[from_raw:], strict=True)), looks[0] if from_raw else None


def _fitting(facts: Facts) -> tuple[str, list[str]]:
    """Return the page, its pictures packed so that it stays small, and what could not be drawn."""
    samples = [
        (images[len(images) // 2], channel.limits[name])
        for channel in facts.channels
        for name, images in channel.pictures.items()
    ]
    # The three cut planes take about as much as two more slices.
    count = sum(len(images) + 2 for channel in facts.channels for images in channel.pictures.values())
    count += 2 * sum(len(looks) for looks in facts.stages)
    packing = packing_for(samples, count, _ROOM)
    makers = [
        functools.partial(_section, _record_sections.overview, facts),
        *(functools.partial(_section, make, facts, packing) for make in _PICTURES),
        *(functools.partial(_section, make, facts) for make in _NUMBERS),
    ]
    drawn = in_threads(lambda make: make(), makers, len(makers), "report: page", "sections")
    sections = [section for section in drawn if section is not None]
    return _page.render(facts.title, facts, sections), [line for section in sections for line in faults(section.blocks)]


def _section(make: Callable[..., Section | None], *arguments: Any) -> Section | None:
    """Return a section; of one that cannot be made, why."""
    heading = plain(make.__name__).capitalize()
    found: list[Section | None] = []

    def made() -> list[Block]:
        found.append(make(*arguments))
        return []

    why = tried(f"The section “{heading}”", made)
    return Section(make.__name__.replace("_", "-"), heading, why) if why else found[0]
