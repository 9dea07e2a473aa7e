"""Counts as people write them."""


def counted(n: int, word: str) -> str:
    """Return a count of something: ``1 slice``, ``2 slices``."""
    return f"{n} {word}" if n == 1 else f"{n} {word}s"
