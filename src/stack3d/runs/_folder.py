"""The folder of a run: its lock, its estimates and checkpoints, what is known of each step."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from stack3d import estimates, progress
from stack3d._alone import slices_alone
from stack3d._provenance import OPERATIONS
from stack3d._records import signature_of
from stack3d._warn import warn
from stack3d.io.atlas import SUFFIX as ATLAS_SUFFIX
from stack3d.runs import _damage, _store
from stack3d.runs._lock import held, is_held
from stack3d.runs._values import normalised

if TYPE_CHECKING:
    from stack3d.runs._links import Link

_SAMPLED_FRAMES = 3
_PEER = "process"  # the folder of what PyStack3D made, within its project


class Input(NamedTuple):
    """What is known of the raw stack of a run.

    Attributes
    ----------
    key : str
        Changes with everything below but `root`.
    base : str
        Fingerprint of labels, metadata and sampled frames.
    files : dict
        Size and time of each file, by its name below `root`.
    root : str
        The folder that holds them; empty for a stack that is no file.
    """

    key: str
    base: str
    files: dict[str, list[int]]
    root: str


class RunFolder:
    """What a run keeps beside its result: ``NAME.run``.

    Parameters
    ----------
    path : Path
        Made when it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = ""  # the one that is being written here, where one is
        try:
            for folder in (path, path / "estimates", path / "checkpoints"):
                folder.mkdir(exist_ok=True)
        except OSError as error:
            raise type(error)(
                error.errno,
                f"the folder of the run, {str(path)!r}, cannot be made: {error.strerror}; choose another out=",
            ) from error

    @contextlib.contextmanager
    def locked(self, *, wait: bool = False) -> Iterator[None]:
        """Hold the folder: two runs must not write the same result.

        Parameters
        ----------
        wait : bool
            For whoever holds it, instead of raising; jobs that write parts do.

        Raises
        ------
        RuntimeError
            When another run holds it, or writes a part, saying which.
        """
        with held(self.path / "lock", "another run is writing this result", wait=wait):
            busy = [] if wait else self.at_work()
            if busy:
                raise RuntimeError(
                    f"jobs are writing parts of this result: {', '.join(busy)}. Wait for them; if they are known to be "
                    f"dead, delete {str(self.path / 'parts')!r} and run again"
                )
            yield

    def at_work(self) -> list[str]:
        """Return the names of the parts that other jobs are writing."""
        return [path.stem for path in sorted((self.path / "parts").glob("*.lock")) if is_held(path)]

    def estimate(self, number: int, name: str, key: str) -> Path:
        """Return where the estimate of a step is kept."""
        return self.path / "estimates" / f"{number:02d}_{name.removeprefix('estimate_')}_{key}.nc"

    def checkpoint(self, number: int, name: str, key: str) -> Path:
        """Return where the result of a step is kept."""
        return self.path / "checkpoints" / f"{number:02d}_{name}_{key}.zarr"

    def is_whole(self, path: Path) -> bool:
        """Return whether a checkpoint is there and whole; one that lost chunks is taken up again as unfinished."""
        damage = _damage.found(path, _store.marks_of(path)) if path.is_dir() else _damage.NONE
        if not damage:
            return path.is_dir()
        self._check_alone(path, damage)
        warn(f"the checkpoint {str(path)!r} has {damage}: {damage.remedy}")
        if damage.files:
            _store.remove(path)
        else:
            _store.take_up_again(path, path, _store.marks_of(path), damage.blocks)
        return False

    @property
    def _marks(self) -> Path:
        return self.path / "result.blocks"

    def damage_of(self, result: Path) -> _damage.Damage:
        """Return what the result lost since `keep_marks`."""
        return _damage.found(result, self._marks) if result.is_dir() else _damage.NONE

    def keep_marks(self, path: Path) -> None:
        """Keep the marks of the store `path`, which has become the result, where `clean` leaves them."""
        shutil.rmtree(self._marks, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):  # of a store that an earlier version wrote
            os.replace(_store.marks_of(path), self._marks)

    def take_back(self, result: Path, path: Path, damage: _damage.Damage) -> None:
        """Let a result that lost chunks be the unfinished store `path` again."""
        self._check_alone(result, damage)
        warn(f"the result {str(result)!r} has {damage}: {damage.remedy}")
        if damage.files:
            return
        _store.take_up_again(path, result, self._marks, damage.blocks)

    def _check_alone(self, store: Path, damage: _damage.Damage) -> None:
        others = [name for name in self.at_work() if name != self.part]
        if others:
            raise RuntimeError(
                f"{str(store)!r} has {damage}, and is not mended while other jobs may read it ({', '.join(others)}). When "
                "all have ended, run again, or submit the same jobs again: what is missing is made again"
            )

    def known_estimate(self, path: Path) -> xr.Dataset | None:
        """Return an estimate that was kept, or None; one that cannot be read is deleted, with a warning."""
        if not path.is_file():
            return None
        try:
            return load_estimate(path)
        except PermissionError:
            raise
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            why = str(error).splitlines()[0] if path.stat().st_size else "it is empty"
            warn(f"the estimate {str(path)!r} cannot be read ({why}): it is made again")
            path.unlink()
            return None

    def keep_estimate(self, path: Path, estimate: xr.Dataset) -> xr.Dataset:
        """Save an estimate, whole or not at all, and return it as it is read back."""
        beside = path.with_suffix(".unfinished")
        with _naming(beside, path):
            estimate.to_netcdf(beside)
            os.replace(beside, path)
        # They come back as they are; reading takes longer than writing.
        if all(variable.dtype.kind in "biufU" for variable in estimate.variables.values()):
            return estimate.drop_encoding()
        return load_estimate(path)

    def state(self) -> dict[str, Any]:
        """Return what the last run noted of its steps."""
        try:
            found: dict[str, Any] = json.loads((self.path / "state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found

    def note(self, state: Mapping[str, Any]) -> None:
        """Write what is known of the run, whole or not at all."""
        beside, path = self.path / "state.unfinished", self.path / "state.json"
        with _naming(beside, path):
            beside.write_text(json.dumps(state, indent=1), encoding="utf-8")
            os.replace(beside, path)

    def forget(self, first: int) -> None:
        """Delete the estimates and checkpoints of step `first` (from 1) and later ones."""
        for path in [*(self.path / "estimates").iterdir(), *(self.path / "checkpoints").iterdir()]:
            if int(path.name[:2]) >= first:
                _store.remove(path) if path.is_dir() else path.unlink(missing_ok=True)

    def clean(self) -> int:
        """Delete all checkpoints, finished or not; return how many bytes that gave back."""
        folder = self.path / "checkpoints"
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        shutil.rmtree(folder)
        folder.mkdir()
        shutil.rmtree(self.path / "parts", ignore_errors=True)
        return size


@contextlib.contextmanager
def _naming(beside: Path, path: Path) -> Iterator[None]:
    """Let a write that fails say of which file, and what may be the cause; the libraries say neither."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        number = error.errno if isinstance(error, OSError) and error.errno else errno.EIO
        said = getattr(error, "strerror", None) or str(error)
        raise OSError(number, f"writing {str(path)!r} failed ({said}): {_cause()}") from error


def _cause() -> str:
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    except ImportError:
        return "the disk may be full"
    if limit == resource.RLIM_INFINITY:
        return "the disk, or what you may have of it, may be full"
    return f"the disk may be full, and no file may have more than {limit} bytes here (ulimit -f)"


def load_estimate(path: Path) -> xr.Dataset:
    """Read an estimate back, equal to what was kept."""
    with xr.open_dataset(path) as found:
        loaded = found.load().drop_encoding()
    texts = {name: variable.astype(str) for name, variable in loaded.variables.items() if variable.dtype.kind == "O"}
    return loaded.assign({name: text for name, text in texts.items() if name in loaded.data_vars}).assign_coords(
        {name: text for name, text in texts.items() if name in loaded.coords}
    )


def key_of(before: str, name: str, version: int, parameters: Mapping[str, Any]) -> str:
    """Return the key of a step: it changes with the step, its parameters, and all that came before."""
    content = json.dumps([before, name, version, normalised(dict(parameters))], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def keys_of(key: str, chain: Sequence[Link]) -> list[str]:
    """Return the keys of an input and of all steps after it."""
    keys = [key]
    for step, _, _ in chain:
        keys.append(key_of(keys[-1], step.operation, OPERATIONS[step.operation].version, step.complete()))
    return keys


def input_of(da: xr.DataArray, path: str | os.PathLike[str] | None, target: Path | None = None) -> Input:
    """Return what tells a raw stack: its labels, a few whole frames, and names, sizes and times of its files.

    Results of runs may lie among them, and so may recipes and what PyStack3D made of them: none has a part in it.
    """
    from stack3d.runs.pystack3d import is_project

    found: dict[str, list[int]] = {}
    place = ""
    if path is not None:
        root = Path(path)
        if root.suffix == ATLAS_SUFFIX:  # the frames lie beside it
            root = root.parent
        place = os.path.abspath(root.parent)
        own = _results_in(root, target)
        if root.is_dir():
            theirs = _PEER if is_project(root) else None
            for name, facts in sorted(_files_below(str(root)), key=lambda item: item[0].split(os.sep)):
                if not (name.endswith(".toml") or name.startswith(own) or _first(name) == theirs):
                    found[os.path.join(root.name, name)] = [facts.st_size, facts.st_mtime_ns]
        else:
            facts = root.stat()
            found[root.name] = [facts.st_size, facts.st_mtime_ns]
    sha = hashlib.sha256(json.dumps(signature_of(da)).encode())
    count = da.sizes.get("z", 1)
    chosen = np.unique(np.linspace(0, count - 1, min(count, _SAMPLED_FRAMES)).astype(int))
    dims = tuple(dim for dim in da.dims if dim != "z")
    positions = {name: da.coords.variables[name] for name in da.xindexes if name in dims}
    for frame in _sampled(da, chosen):
        sha.update(json.dumps(estimates.digest_of({"frame": xr.Variable(dims, frame), **positions})).encode())
    # What the first file says of all goes into the header of a store when it is begun.
    base = sha.hexdigest() + hashlib.sha256(json.dumps(da.attrs, sort_keys=True, default=str).encode()).hexdigest()
    sha.update("".join(f"{name} {size} {time}\n" for name, (size, time) in found.items()).encode())
    return Input(sha.hexdigest()[:12], base, found, place)


def _sampled(da: xr.DataArray, chosen: np.ndarray) -> Iterator[np.ndarray]:
    """Yield some frames of a stack, in memory; one without slices is its own frame."""
    if da.dims == ("z", "y", "x") and da.chunks is not None:
        yield from progress.compute(slices_alone(da.data, chosen), label="input", total=len(chosen))[0]
        return
    values = (da.isel(z=chosen) if "z" in da.dims else da).values
    yield from np.moveaxis(values, da.dims.index("z"), 0) if "z" in da.dims else [values]


def _files_below(folder: str, name: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Yield the name of each file in a folder and those below it, and what is known of it; links are followed to files."""
    try:
        entries = list(os.scandir(os.path.join(folder, name)))
    except PermissionError:
        return
    for entry in entries:
        place = os.path.join(name, entry.name)
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(folder, place)
        elif entry.is_file():
            yield place, entry.stat()


def _first(name: str) -> str:
    return name.partition(os.sep)[0]


def _results_in(root: Path, target: Path | None) -> tuple[str, ...]:
    """Return how the names begin of what runs made in the folder of a raw stack."""
    if target is None or not root.is_dir():
        return ()
    others = [folder.name.removesuffix(".run") for folder in root.glob("?*.run") if folder.is_dir()]
    return (os.path.relpath(target, os.path.realpath(root)), *others)
