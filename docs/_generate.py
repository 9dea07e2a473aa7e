"""Pages written from the code at build time, so that no list of names is kept by hand."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import stack3d
from stack3d import vocabulary

# Group of a function by the part of the package that defines it; what fits none is listed last.
GROUPS = {
    "stack3d.io": "Reading and saving",
    "stack3d.model": "The stack",
    "stack3d.vocabulary": "The stack",
    "stack3d.operations": "Corrections and estimates",
    "stack3d.quality": "Quality",
    "stack3d.plotting": "Pictures",
    "stack3d.reporting": "Pictures",
    "stack3d._provenance": "Provenance",
    "stack3d._replay": "Provenance",
}
REST = "Settings, warnings and the rest"


def write_pages(folder: Path) -> None:
    """Write all generated pages into `folder`, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pages = {
        "functions.rst": functions_page(),
        "accessor.rst": accessor_page(),
        "modules.rst": modules_page(),
        "vocabulary.md": vocabulary_table(),
    }
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")


def public(kind: Any) -> list[tuple[str, Any]]:
    """Return name and object of each public name of the package for which `kind` holds."""
    found = [(name, getattr(stack3d, name)) for name in stack3d.__all__ if not name.startswith("_")]
    return [(name, thing) for name, thing in found if kind(thing)]


def functions_page() -> str:
    """Return the page of all public functions and classes, by group."""
    groups: dict[str, list[str]] = {title: [] for title in (*dict.fromkeys(GROUPS.values()), REST)}
    for name, thing in public(lambda thing: not isinstance(thing, ModuleType)):
        module = getattr(thing, "__module__", "")
        title = next((t for prefix, t in GROUPS.items() if module == prefix or module.startswith(prefix + ".")), REST)
        groups[title].append(name)
    parts = [_title("Functions"), "Each is also a method of the accessor where its first argument is a stack.\n"]
    for title, names in groups.items():
        if names:
            parts += [_title(title, "-"), _autosummary(f"stack3d.{name}" for name in names)]
    return "\n".join(parts)


def modules_page() -> str:
    """Return the page of the public modules and their functions."""
    parts = [_title("Modules")]
    for name, module in public(lambda thing: isinstance(thing, ModuleType)):
        names = sorted(getattr(module, "__all__", ())) or [
            name for name, thing in vars(module).items() if getattr(thing, "__module__", None) == module.__name__
        ]
        parts += [
            _title(f"stack3d.{name}", "-"),
            f".. py:module:: stack3d.{name}\n",
            _summary(module) + "\n",
            # Short names: the page of a module must not list that module again.
            f".. currentmodule:: stack3d.{name}\n",
            _autosummary(n for n in names if not n.startswith("_")),
        ]
    return "\n".join(parts)


def accessor_page() -> str:
    """Return the page of the accessor: a row for each method, and full text for what is no function as well."""
    bound = stack3d.accessor(stack3d.from_array(np.zeros((1, 2, 2), "uint8"), pixel_size=None))
    accessor = type(bound)
    members = {name: inspect.getattr_static(accessor, name) for name in dir(accessor) if not name.startswith("_")}
    functions = [name for name in members if callable(getattr(accessor, name)) and name in stack3d.__all__]
    own = [name for name in members if name not in functions]
    rows = [
        f"   * - ``{name}``\n     - :py:func:`stack3d.{name}`\n     - {_summary(getattr(stack3d, name))}\n"
        for name in functions
    ]
    path = f"{accessor.__module__}.{accessor.__qualname__}"
    parts = [
        _title("The accessor"),
        "``import stack3d`` registers ``.stack3d`` on every ``xarray.DataArray``. ``da.stack3d.NAME(...)`` is\n"
        "``stack3d.NAME(da, ...)``; ``stack3d.accessor(da)`` is the same object, typed.\n",
        ".. list-table::\n   :header-rows: 1\n   :widths: 30 30 40\n\n"
        "   * - method\n     - function\n     - what it does\n" + "".join(rows),
    ]
    if own:
        parts += [_title("Not functions of the package", "-"), _autosummary(f"{path}.{name}" for name in own)]
    for name in own:
        group = type(getattr(bound, name))
        if group.__module__.startswith("stack3d.") and not issubclass(group, tuple):
            inner = [part for part in vars(group) if not part.startswith("_")]
            path = f"{group.__module__}.{group.__qualname__}"
            parts += [_title(f"da.stack3d.{name}", "-"), _autosummary(f"{path}.{part}" for part in inner)]
    return "\n".join(parts)


def vocabulary_table() -> str:
    """Return the table of metadata names."""
    return str(vocabulary.vocabulary_table()) + "\n"


def _title(text: str, underline: str = "=") -> str:
    return f"{text}\n{underline * len(text)}\n"


def _summary(thing: Any) -> str:
    paragraph = (inspect.getdoc(thing) or "").partition("\n\n")[0]
    return " ".join(paragraph.split())


def _autosummary(names: Any) -> str:
    # Full names, shown short.
    return ".. autosummary::\n   :toctree: .\n   :nosignatures:\n\n" + "".join(f"   ~{name}\n" for name in names)
