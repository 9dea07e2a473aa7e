"""The recipes that come with the package, as commented TOML."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).with_name("presets")


def preset_names() -> list[str]:
    """Return the names of the presets."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def preset_file(name: str) -> Path:
    """Return the file of a preset.

    Raises
    ------
    ValueError
        When there is none of this name, with those there are.
    """
    if name not in preset_names():
        raise ValueError(f"preset={name!r} is not known; it must be one of {', '.join(map(repr, preset_names()))}")
    return _FOLDER / f"{name}.toml"
