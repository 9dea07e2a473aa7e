"""The parts of a page: what the template can draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from markupsafe import Markup

from stack3d.reporting._images import SMALL
from stack3d.reporting._matched import Matched
from stack3d.reporting._notes import RunNotes
from stack3d.reporting._passes import Profile
from stack3d.reporting._quality import Quantity
from stack3d.reporting._stages import StageLook


@dataclass(frozen=True)
class Figure:
    """A drawing or a picture with its caption."""

    body: Markup
    caption: str
    kind: str = "figure"


@dataclass(frozen=True)
class Table:
    """A table; cells are text, the first column are headers of rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    kind: str = "table"


@dataclass(frozen=True)
class Shot:
    """One picture of a stage, and the same before; `drawn` is drawn over each, where they are cut to an `outline`."""

    after: str
    before: str | None
    alt: str
    drawn: tuple[Markup | None, Markup | None] = (None, None)
    outline: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Stage:
    """Pictures that are seen in one place, one at a time."""

    shots: Sequence[Shot]
    size: tuple[int, int]
    ratio: float
    name: str = ""
    bar: tuple[float, str] | None = None
    area: str = ""

    @property
    def enlarged(self) -> bool:
        """Whether pixels are drawn as squares: there are few of them."""
        return max(self.size) <= SMALL


@dataclass(frozen=True)
class Viewer:
    """Stages that share a divider and a slider."""

    name: str
    stages: Sequence[Stage]
    labels: Sequence[str]
    caption: str
    slider: str = ""
    start: int = 0
    layout: str = ""
    columns: str = ""
    names: tuple[str, str] = ("before", "after")
    kind: str = "viewer"


@dataclass(frozen=True)
class Text:
    """A paragraph, or lines of code; a `fault` says what could not be drawn."""

    text: str
    code: bool = False
    note: bool = False
    fault: bool = False
    kind: str = "text"


@dataclass(frozen=True)
class Items:
    """A list of lines."""

    lines: Sequence[str]
    kind: str = "items"


@dataclass(frozen=True)
class Fold:
    """Blocks under a heading that opens."""

    heading: str
    blocks: Sequence[Block]
    facts: str = ""
    opened: bool = False
    kind: str = "fold"


@dataclass(frozen=True)
class Group:
    """Blocks under a heading of their own."""

    heading: str
    blocks: Sequence[Block]
    kind: str = "group"


@dataclass(frozen=True)
class Tiles:
    """Numbers that come first."""

    tiles: Sequence[tuple[str, str, str]]
    kind: str = "tiles"


Block = Figure | Table | Viewer | Text | Items | Fold | Group | Tiles


@dataclass(frozen=True)
class Section:
    """A part of the page, with its line in the table of contents."""

    id: str
    heading: str
    blocks: Sequence[Block]


@dataclass(frozen=True, eq=False)
class Channel:
    """What was looked at of one channel."""

    pair: Matched
    pictures: Mapping[str, np.ndarray]
    slices: Sequence[int]
    partners: Sequence[int | None]
    limits: Mapping[str, tuple[float, float]]
    profiles: Mapping[str, Profile]
    quantities: Sequence[Quantity]
    notes: Sequence[str]
    spectra: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def middle(self) -> int:
        """Which picture is shown first: that nearest to the middle, of a good slice with one before, where there are such."""
        before, count = self.pictures.get("before"), self.pair.after.da.sizes["z"]
        far = np.abs(np.array(self.slices) - count // 2) + count * ~self.pair.after.valid[list(self.slices)]
        if before is not None:
            far = far + 2 * count * ~np.isfinite(before).any(axis=(1, 2))
        return int(np.argmin(far))


@dataclass(frozen=True, eq=False)
class Estimate:
    """An estimate and the step it belongs to."""

    step: str
    number: int
    data: xr.Dataset


@dataclass(frozen=True, eq=False)
class Facts:
    """Everything that a page is made of; a section is a function of it."""

    title: str
    after: xr.DataArray
    before: xr.DataArray | None
    records: Sequence[Mapping[str, object]]
    notes: RunNotes
    estimates: Sequence[Estimate]
    channels: Sequence[Channel]
    left_out: Sequence[str] = ()
    stages: Sequence[Mapping[str, StageLook]] = ()  # of each channel
    raw: Sequence[StageLook | None] = ()  # of each channel, where the first step is told from it
    names: Mapping[str, str] = field(default_factory=dict)
    spoken: Sequence[str] = ()
