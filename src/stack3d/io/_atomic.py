"""Writing beside a file and renaming, so that a name never holds half of a stack.

New data go to ``NAME.partial-ID`` in the same folder. When all of it is written the name becomes
``NAME.complete-ID``, and then takes the place of ``NAME``: a file in one step, a folder in two, what was there
before being set aside as ``NAME.previous-ID`` for that moment and deleted as ``NAME.discarded-ID``. So whatever is
under ``NAME`` is whole at every moment, and after a kill each name that is left says what it holds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

_KINDS = ("previous", "complete", "partial", "discarded")

# Saves that this process is doing: they have left nothing behind yet.
_running: set[str] = set()
# Two threads that save to one name take turns.
_naming = threading.Lock()


class UnfinishedSaveWarning(UserWarning):
    """A save was interrupted before; the message says what it left and how to take it back."""


def check_target(path: Path, *, overwrite: bool, folder: bool) -> Path:
    """Return where to write for `path`, links followed, or raise while nothing is done yet.

    Parameters
    ----------
    path : Path
    overwrite : bool
        Whether something may be there already.
    folder : bool
        Whether the format is a folder (Zarr) or a file.

    Raises
    ------
    FileExistsError, FileNotFoundError, PermissionError, ValueError
        Naming the path and what to do.
    """
    target = Path(os.path.realpath(path))
    parent = target.parent
    if not parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"path={str(path)!r}: there is no folder {str(parent)!r}; make it first")
    if target.exists():
        if not overwrite:
            raise FileExistsError(
                errno.EEXIST, f"path={str(path)!r} is there already; give overwrite=True to replace it"
            )
        if target.is_dir() and not folder:
            raise FileExistsError(errno.EEXIST, f"path={str(path)!r} is a folder, not a file that could be replaced")
        if folder and not _is_zarr(target):
            raise FileExistsError(
                errno.EEXIST,
                f"path={str(path)!r} is there and is not a Zarr store, so it is not replaced; move it away first",
            )
    mark = _new_id()
    probe = Path(f"{target}.partial-{mark}")
    _running.add(mark)
    try:
        with probe.open("xb"):
            pass
        probe.unlink()
    except PermissionError as error:
        raise PermissionError(
            error.errno, f"path={str(path)!r}: no permission to write in the folder {str(parent)!r}"
        ) from error
    except OSError as error:
        raise OSError(
            error.errno, f"path={str(path)!r} cannot be written in {str(parent)!r}: {error.strerror}"
        ) from error
    finally:
        _running.discard(mark)
    return target


@contextlib.contextmanager
def written_beside(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a path to write to; put it in the place of `target` when the block ends well, remove it when it fails.

    Parameters
    ----------
    target : Path
        As `check_target` returned it.
    overwrite : bool
        Whether what is there may be replaced.

    Yields
    ------
    Path
        Where to write, as a file or a folder, on the same file system as `target`.

    Raises
    ------
    OSError
        When writing failed (a full disk), saying that what was there before is untouched.
    """
    mark = _new_id()
    partial = Path(f"{target}.partial-{mark}")
    _running.add(mark)
    try:
        try:
            yield partial
        except BaseException as error:
            removed = _remove(partial)
            if _is_write_failure(error):
                number = getattr(error, "errno", None) or errno.EIO
                raise OSError(number, _failure_text(target, partial, error, removed)) from error
            raise
        with _naming:
            _put_in_place(partial, target, mark, overwrite=overwrite)
    finally:
        _running.discard(mark)


def put_in_place(whole: Path, target: Path) -> None:
    """Rename what is whole, and has a name of its own, to `target`, in the place of what is there.

    Parameters
    ----------
    whole, target : Path
        Both on the same file system. After a kill `whole` is under one of the two names.
    """
    mark = _new_id()
    previous, discarded = (Path(f"{target}.{kind}-{mark}") for kind in ("previous", "discarded"))
    with _naming:
        if _renamed(whole, target, previous):
            os.replace(previous, discarded)
            _remove(discarded)


def left_behind(path: str | os.PathLike[str]) -> str:
    """Return what interrupted saves to `path` left beside it and how to take it back, ``""`` where nothing is left.

    Parameters
    ----------
    path : str or path
        Name of a stack, whether it is there or not.

    Returns
    -------
    str
        One sentence a left name.
    """
    target = Path(os.path.realpath(path))
    found: dict[str, list[Path]] = {kind: [] for kind in _KINDS}
    # A save may end while the names are read: those that ran before count as running.
    before = set(_running)
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            for kind in _KINDS:
                start = f"{target.name}.{kind}-"
                # What follows the mark belongs to the same save: its lock.
                mark = entry.name[len(start) :].partition(".")[0]
                if entry.name.startswith(start) and mark not in before and mark not in _running:
                    found[kind].append(Path(entry.path))
    away = f"move {target.name!r} away and " if target.exists() else ""
    texts = {
        "previous": (
            "{path!r} is what {name!r} held before a save that was interrupted; it is whole. "
            "To take it back {away}rename it: os.rename({path!r}, {target!r})."
        ),
        "complete": (
            "{path!r} was written completely by a save that did not put it in place. "
            "To use it {away}rename it: os.rename({path!r}, {target!r})."
        ),
        "partial": "{path!r} is an unfinished save: delete it, unless that save is still running.",
        "discarded": "{path!r} is the rest of data that were replaced: delete it.",
    }
    return "\n".join(
        texts[kind].format(path=str(path), name=target.name, target=str(target), away=away)
        for kind in _KINDS
        for path in sorted(found[kind])
    )


def _new_id() -> str:
    return f"{os.getpid()}-{uuid.uuid4().hex[:8]}"


def _is_zarr(folder: Path) -> bool:
    names = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")
    return folder.is_dir() and (any((folder / name).is_file() for name in names) or not any(folder.iterdir()))


def _put_in_place(partial: Path, target: Path, mark: str, *, overwrite: bool) -> None:
    complete, previous, discarded = (Path(f"{target}.{kind}-{mark}") for kind in ("complete", "previous", "discarded"))
    if partial.is_file():
        # A power cut must not leave a new name on data that are not there.
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
    try:
        os.replace(partial, complete)
        if target.exists() and not overwrite:
            raise FileExistsError(errno.EEXIST, f"{str(target)!r} was made by somebody else in the meantime")
        replaced = _renamed(complete, target, previous)
    except OSError as error:
        new = complete if complete.exists() else partial
        raise OSError(
            error.errno or errno.EIO,
            f"the stack was written completely but not named {str(target)!r} ({error.strerror or error}); what "
            f"was there before is untouched. The new data are in {str(new)!r}: close what holds {target.name!r} "
            "open, then rename it",
        ) from error
    if replaced:
        os.replace(previous, discarded)
        _remove(discarded)


def _renamed(new: Path, target: Path, previous: Path) -> bool:
    """Give what is whole the name `target`; return whether what was there is now `previous`, to be removed."""
    if new.is_file() or not target.exists():
        os.replace(new, target)
        return False
    os.replace(target, previous)
    try:
        os.replace(new, target)
    except BaseException:
        if not target.exists():  # else another process has just put its own there
            os.replace(previous, target)
        raise
    return True


def _remove(path: Path) -> bool:
    """Remove a file or folder; tasks of a cluster may still be writing into it, hence the repeats."""
    for pause in (0.0, 0.05, 0.2, 0.5):
        time.sleep(pause)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        if not os.path.lexists(path):
            return True
    return False


def _is_write_failure(error: BaseException) -> bool:
    # The NetCDF library reports a full disk as a RuntimeError.
    if isinstance(error, RuntimeError):
        return "NetCDF:" in str(error) or "HDF error" in str(error)
    return isinstance(error, OSError) and error.errno in {
        errno.ENOSPC, errno.EFBIG, errno.EIO, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)
    }  # fmt: skip


def _failure_text(target: Path, partial: Path, error: BaseException, removed: bool) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    try:
        free = f" ({shutil.disk_usage(target.parent).free / 2**20:.0f} MiB free)"
    except OSError:
        free = ""
    rest = (
        "the partial file was removed" if removed else f"the partial file {str(partial)!r} is left and can be deleted"
    )
    before = f"{target.name!r} is as it was before" if target.exists() else "nothing else was changed"
    return f"writing {str(target)!r} failed in {str(target.parent)!r}{free}: {reason}; {rest}, {before}"
