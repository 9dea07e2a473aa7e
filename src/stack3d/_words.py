"""Counts, sizes and hints as people write them."""

from __future__ import annotations

from collections.abc import Iterable


def counted(n: int, word: str) -> str:
    """Return a count of something: ``1 slice``, ``2 slices``."""
    return f"{n} {word}" if n == 1 else f"{n} {word}s"


def size(count: float) -> str:
    """Return a number of bytes: ``1.5 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def like(word: str, words: Iterable[object]) -> str:
    """Return which of some words was meant, as the end of a message; empty where none is near."""
    import difflib

    near = difflib.get_close_matches(word, [str(known) for known in words], n=1, cutoff=0.7)
    return f"; did you mean {near[0]!r}?" if near else ""
