"""Locks between runs, on one machine or several that share a disk: a file that says who holds it, and is kept fresh."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_LOGGER = logging.getLogger("stack3d")

# Seconds. A holder touches its lock; one on another machine that has not done so for long counts as dead.
BEAT, PATIENCE, LOOK = 20.0, 300.0, 0.5


@contextlib.contextmanager
def held(lock: Path, busy: str, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock. That of a dead process is taken over.

    Parameters
    ----------
    lock : Path
        The file.
    busy : str
        What to say of one who holds it.
    wait : bool
        For the holder to be done, instead of raising.

    Raises
    ------
    RuntimeError
        When another holds it, saying who.
    """
    mine = _take(lock, busy, wait=wait)
    ended = threading.Event()

    def keep_fresh() -> None:
        while not ended.wait(BEAT):
            with contextlib.suppress(OSError):
                os.utime(lock)

    threading.Thread(target=keep_fresh, name="stack3d lock", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        with contextlib.suppress(OSError):
            if lock.read_text(encoding="utf-8") == mine:
                lock.unlink()


def is_held(lock: Path) -> bool:
    """Return whether somebody holds a lock, as far as can be known from here."""
    holder = _holder(lock)
    return holder is not None and not _is_dead(holder, lock)


def _take(lock: Path, busy: str, *, wait: bool) -> str:
    me = {
        "pid": os.getpid(),
        "host": platform.node(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "id": uuid.uuid4().hex,
    }
    mine, waiting = json.dumps(me), False
    while True:
        try:
            _make(lock, mine)
            return mine
        except FileExistsError:
            holder = _holder(lock)
        if holder is None:
            continue
        if _is_dead(holder, lock):
            _take_away(lock, holder)
            continue
        if not wait:
            raise RuntimeError(
                f"{busy}: process {holder['pid']} on {holder['host']}, since {holder['since']}. "
                f"Wait for it; if it is known to be dead, delete {str(lock)!r} and run again"
            )
        if not waiting:
            _LOGGER.info("waiting for process %s on %s", holder["pid"], holder["host"])
            waiting = True
        time.sleep(LOOK)


def _make(lock: Path, content: str) -> None:
    """Make a lock with what it says, in one step: it is never seen empty."""
    beside = lock.with_name(f"{lock.name}-{uuid.uuid4().hex}")
    beside.write_text(content, encoding="utf-8")
    try:
        os.link(beside, lock)
    except FileExistsError:
        raise
    except OSError:  # a disk without hard links
        with lock.open("x", encoding="utf-8") as file:
            file.write(content)
    finally:
        beside.unlink()


def _holder(lock: Path) -> dict[str, Any] | None:
    """Return who holds a lock, None where nobody does. What is no lock of ours is taken away."""
    for _ in range(20):
        try:
            found: dict[str, Any] = json.loads(lock.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:  # just being written
            time.sleep(0.05)
            continue
        return found
    # Whoever made it died before it could write into it.
    lock.unlink(missing_ok=True)
    return None


def _take_away(lock: Path, dead: Mapping[str, Any]) -> None:
    """Remove the lock of a dead process, and never that of one who has just taken it over from the same."""
    aside = lock.with_name(f"{lock.name}-{uuid.uuid4().hex}")
    try:
        os.replace(lock, aside)
    except FileNotFoundError:
        return
    if _holder(aside) != dead:
        with contextlib.suppress(FileExistsError):
            os.link(aside, lock)
    aside.unlink(missing_ok=True)


def _is_dead(holder: Mapping[str, Any], lock: Path) -> bool:
    # Windows has no harmless signal: whether a process lives is not asked there.
    if holder.get("host") != platform.node() or os.name == "nt":
        return _silence(lock) > PATIENCE
    try:
        os.kill(int(holder["pid"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _silence(lock: Path) -> float:
    """Return for how many seconds a lock was not touched, by the clock of its disk."""
    probe = lock.with_name(f"{lock.name}-{uuid.uuid4().hex}")
    try:
        probe.touch()
        return probe.stat().st_mtime - lock.stat().st_mtime
    except FileNotFoundError:
        return 0.0
    finally:
        probe.unlink(missing_ok=True)
