"""How progress is shown: a bar on a terminal, lines in the log elsewhere."""

from __future__ import annotations

import contextlib
import logging
import platform
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

from stack3d.options import get_option

_LOGGER = logging.getLogger("stack3d")

# Seconds. Work that ends before the first of its kind leaves no trace.
FIRST_BAR, EVERY_BAR = 0.3, 0.1
FIRST_LOG, EVERY_LOG = 2.0, 10.0
# Work as long as this tells its memory too.
LONG = 10.0

_owner_lock = threading.Lock()
_owner: Meter | None = None


@contextlib.contextmanager
def metering(label: str, unit: str, *, size: int | None = None, shown: int | None = None) -> Iterator[Meter | None]:
    """Yield the meter of this work, or None where nothing is to be shown."""
    global _owner
    mode = _mode()
    meter = None
    if mode != "silent":
        with _owner_lock:
            if _owner is None:
                meter = _owner = Meter(label, unit, size, shown, sys.stderr if mode == "bar" else None)
    if meter is None:
        yield None
        return
    failed = True
    try:
        meter.start()
        yield meter
        failed = False
    finally:
        meter.stop(failed)
        with _owner_lock:
            _owner = None


def _mode() -> str:
    option = get_option("progress")
    if option is False:
        return "silent"
    stream = sys.stderr
    if option is True:
        return "silent" if stream is None else "bar"
    if _in_notebook() or (stream is not None and not stream.closed and stream.isatty() and not _in_child()):
        return "bar"
    return "log" if _LOGGER.isEnabledFor(logging.INFO) else "silent"


def _in_notebook() -> bool:
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return shell is not None and hasattr(shell, "kernel")


def _in_child() -> bool:
    # The workers of a pool share the terminal with the process that shows the progress of all of them.
    import multiprocessing

    return multiprocessing.parent_process() is not None


class Meter:
    """Counts, and from a thread of its own draws a bar on `stream` or writes to the log (`stream` None)."""

    def __init__(self, label: str, unit: str, size: int | None, shown: int | None, stream: TextIO | None) -> None:
        self.label, self.unit, self.stream = label, unit, stream
        self._done, self._size, self._shown = 0, size, shown
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._visible = False
        self._width, self._bar = 0, 30
        self._thread = threading.Thread(target=self._run, name="stack3d progress", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def advance(self, n: int = 1) -> None:
        """Count `n` more."""
        with self._lock:
            self._done += n

    def update(self, done: int, size: int) -> None:
        """Set how much is done, of how much."""
        with self._lock:
            self._done, self._size = done, size

    def complete(self) -> None:
        """Set that all is done."""
        with self._lock:
            self._size = self._size or max(1, self._done)
            self._done = self._size

    def stop(self, failed: bool) -> None:
        """Show the last state, if any was shown."""
        self._ended.set()
        self._thread.join()
        if not self._visible:
            return
        done, total, elapsed = self._state()
        took = _clock(elapsed)
        if self.stream is not None:
            ending = f"stopped after {took}" if failed else f"{_rate(done, elapsed, self.unit)}, {took}"
            self._draw(done, total, ending, last=True)
        elif failed:
            _LOGGER.info("%s: stopped at %s after %s", self.label, self._count(done, total), took)
        else:
            _LOGGER.info("%s: done, %s in %s", self.label, self._count(done, total), took)

    def _run(self) -> None:
        first, every = (FIRST_BAR, EVERY_BAR) if self.stream is not None else (FIRST_LOG, EVERY_LOG)
        pause = first
        while not self._ended.wait(pause):
            self._show()
            pause = every

    def _show(self) -> None:
        done, total, elapsed = self._state()
        if self.stream is None and not self._visible:
            _LOGGER.info("%s: started%s", self.label, "" if total is None else f", {total} {self.unit}")
            self._visible = True
            return
        self._visible = True
        time_left = f", {_clock((total - done) * elapsed / done)} left" if done and total is not None else ""
        # A rate of nothing says nothing; that it goes on does.
        rate = f"{_rate(done, elapsed, self.unit)}, " if done else ""
        ending = f"{rate}{_clock(elapsed)} elapsed{time_left}"
        peak = peak_memory() if elapsed >= LONG else None
        if peak is not None:
            ending += f", peak {peak / 2**30:.1f} GiB"
        if self.stream is not None:
            self._draw(done, total, ending)
        else:
            _LOGGER.info("%s: %s, %s", self.label, self._count(done, total), ending)

    def _state(self) -> tuple[int, int | None, float]:
        """Return how much is done, of how much, and after how many seconds, in the unit that is shown."""
        with self._lock:
            done, size = self._done, self._size
        elapsed = time.monotonic() - self._began
        if self._shown is not None:
            return (round(self._shown * done / size) if size else 0), self._shown, elapsed
        return done if size is None else min(done, size), size, elapsed

    def _count(self, done: int, total: int | None) -> str:
        return f"{done} {self.unit}" if total is None else f"{done}/{total} {self.unit}"

    def _draw(self, done: int, total: int | None, ending: str, *, last: bool = False) -> None:
        columns = max(20, shutil.get_terminal_size().columns - 1)
        text = f"{self._count(done, total)}, {ending}"
        fraction = 1.0 if total == 0 else done / total if total else 0.0
        # Never wider again, so that it does not jump about with the length of the text.
        self._bar = width = max(0, min(self._bar, columns - len(self.label) - len(text) - 10))
        bar = f" [{'#' * int(width * fraction):.<{width}}]" if width > 4 else ""
        percent = "" if total is None else f" {int(100 * fraction):3d}%"
        line = f"{self.label}{bar}{percent} {text}"[:columns]
        padding = " " * max(0, self._width - len(line))
        self._width = len(line)
        # A terminal that has gone away must not end the work.
        with contextlib.suppress(ValueError, OSError):
            assert self.stream is not None
            self.stream.write("\r" + line + padding + ("\n" if last else ""))
            self.stream.flush()


def peak_memory() -> int | None:
    """Return the largest resident memory of this process so far, in bytes, where the system tells."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if platform.system() == "Darwin" else peak * 1024)


def _rate(done: int, elapsed: float, unit: str) -> str:
    rate = done / elapsed if elapsed > 0 else 0.0
    return f"{rate:.0f} {unit}/s" if rate >= 100 else f"{rate:.3g} {unit}/s"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
