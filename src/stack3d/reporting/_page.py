"""From sections to one file."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from stack3d._version import __version__
from stack3d.reporting._model import Block, Facts, Section

_GENERATOR = '<meta name="generator" content="stack3d '


def check_target(path: str | os.PathLike[str], overwrite: bool) -> Path:
    """Return where the page goes, or raise before anything is read."""
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"path={str(path)!r} must end with .html")
    if not target.absolute().parent.is_dir():
        raise FileNotFoundError(f"path={str(path)!r}: there is no folder {str(target.parent)!r}; make it first")
    if target.exists() and not overwrite and not is_report(target):
        raise FileExistsError(f"path={str(path)!r} is there and is no report; give overwrite=True to replace it")
    return target


def is_report(path: Path) -> bool:
    """Return whether a file is a page of ours."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _GENERATOR.encode() in file.read(2000)


def render(title: str, facts: Facts, sections: Sequence[Section]) -> str:
    """Return the page as text."""
    page = _environment().get_template("page.html")
    return str(
        page.render(
            title=title,
            sections=sections,
            both=facts.before is not None,
            version=__version__,
            made=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            style=Markup(_source("style.css")),
            script=Markup(_source("script.js")),
        )
    )


def save(target: Path, page: str) -> Path:
    """Write the page, whole or not at all."""
    beside = target.with_name(f"{target.name}.partial-{os.getpid()}")
    try:
        beside.write_text(page, encoding="utf-8", newline="\n")
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
    return target


def _source(name: str) -> str:
    from importlib import resources

    return (resources.files("stack3d.reporting") / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Any:
    import jinja2

    from stack3d.reporting._compiled import Compiled

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("stack3d.reporting", "templates"),
        bytecode_cache=Compiled(),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["runs"] = _runs
    return environment


def _runs(blocks: Sequence[Block]) -> list[list[Block]]:
    """Return neighbours of one kind together: figures, and tables, share a grid."""
    return [list(run) for _, run in itertools.groupby(blocks, key=lambda block: block.kind)]
