"""A lock between threads, processes and machines that share a disk."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path


class FolderLock:
    """A lock between threads, processes and machines: whoever makes the folder holds it. Pickles."""

    patience = 600.0

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = str(path)

    def __enter__(self) -> FolderLock:
        holder, since, pause = 0, time.monotonic(), 0.0005
        while not self._make():
            time.sleep(pause)
            pause = min(2 * pause, 0.005)
            with contextlib.suppress(OSError):
                made = os.stat(self.path).st_mtime_ns
                if made != holder:
                    holder, since = made, time.monotonic()
            if time.monotonic() - since > self.patience:
                raise OSError(errno.EIO, f"a process that was writing died, or is stuck: it holds {self.path!r}")
        return self

    def _make(self) -> bool:
        try:
            Path(self.path).mkdir()
        except FileExistsError:
            return False
        except PermissionError:
            if os.name != "nt":  # Windows refuses a folder that is just being removed
                raise
            return False
        return True

    def __exit__(self, *details: object) -> None:
        Path(self.path).rmdir()

    def remove(self) -> None:
        """Take away what a process that was killed left."""
        with contextlib.suppress(OSError):
            Path(self.path).rmdir()
