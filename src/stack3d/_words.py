"""Counts and sizes as people write them."""


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
