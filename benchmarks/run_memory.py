"""Peak memory, bytes read and written, and time of a whole run on a stack larger than the memory allowed.

    python benchmarks/run_memory.py --gigabytes 16 --folder DIR
    python benchmarks/run_memory.py --sizes 0.5,1,2,4 --folder DIR
    python benchmarks/run_memory.py --gigabytes 0.8 --frame 4096 --folder DIR
    python benchmarks/run_memory.py --gigabytes 8 --preset fibsem --folder DIR

Streams a synthetic stack to disk, then runs a recipe (crop, level_slices, register, destripe, resample; or a preset) in a
process of its own, which counts what its system calls read and wrote (``/proc/self/io``: Linux). Beside each figure stands
the least it could be: one read of its input, the stack or the checkpoint before it, for each estimate, for each checkpoint
and for the result; one write of each checkpoint and of the result. Deletes what it made.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

FRAME = 2048
STEPS = [
    ("crop", {"y": slice(16, None), "by": "index"}),
    "level_slices",
    ("register", {"crop": "none"}),
    "destripe",
    ("resample", {"dz": "8 nm"}),
]


def make(path: Path, gigabytes: float, frame: int = FRAME) -> None:
    """Write a stack with texture, drift, gain and curtains, a few frames in memory at a time."""
    import scipy.ndimage

    import stack3d
    from stack3d._blocks import array_from_blocks

    count = max(16, round(gigabytes * 1e9 / (frame * frame * 2)))
    rng = np.random.default_rng(0)
    side = frame + 64
    fields = [
        2500
        * scipy.ndimage.gaussian_filter(rng.standard_normal((side, side)).astype(np.float32), sigma, mode="wrap")
        * sigma
        for sigma in (3, 3, 9)
    ]
    noise = rng.normal(0, 300, (frame, side)).astype(np.float32)
    drift = np.clip(np.cumsum(rng.normal(0, 0.7, (count, 2)), axis=0), -30, 30).round().astype(int) + 32
    gains = rng.normal(1, 0.03, count)

    def block(k: int) -> np.ndarray:
        own = np.random.default_rng(k)
        y, x = drift[k]
        angle = 0.05 * k
        field = np.cos(angle) * fields[0] + np.sin(angle) * fields[1] + fields[2]
        image = field[y : y + frame, x : x + frame] + noise[:, own.integers(64) :][:, :frame]
        curtains = scipy.ndimage.gaussian_filter1d(own.standard_normal(frame), 2) * 900
        image = (image + curtains.astype(np.float32) + 20000) * np.float32(gains[k])
        return np.clip(image, 0, 65535).astype(np.uint16)[None]

    data = array_from_blocks(
        block,
        name=f"made-{count}",
        chunks=((1,) * count, (frame,), (frame,)),
        dtype=np.uint16,
        per_block=lambda index: index[0],
    )
    stack3d.from_array(data, pixel_size=(10, 5, 5)).stack3d.save(path)


def recipe_of(source: Path, preset: str | None) -> Any:
    import stack3d

    steps: list[Any] = STEPS
    if preset is not None:
        of_preset = stack3d.Recipe.preset(preset).steps
        steps = [(s.operation, {**s.parameters, "dz": "8 nm"}) if s.operation == "resample" else s for s in of_preset]
    return stack3d.Recipe(steps, input={"path": str(source)})


def job(source: Path, target: Path, preset: str | None, report: bool) -> None:
    import stack3d

    before = _moved()
    start = time.perf_counter()
    clean = stack3d.run(recipe_of(source, preset), out=target, report=report)
    seconds = time.perf_counter() - start
    after = _moved()
    used = os.times()
    state = json.loads(Path(f"{target}.run/state.json").read_text())
    facts = {
        "shape": list(clean.shape),
        "seconds": seconds,
        "cpu": used.user + used.system,
        "peak": _peak(),
        "read": after["rchar"] - before["rchar"],
        "written": after["wchar"] - before["wchar"],
        "passes": [(one["kind"], one["name"], round(one["seconds"], 1)) for one in state["passes"]],
    }
    print(json.dumps(facts))


def _moved() -> dict[str, int]:
    lines = Path("/proc/self/io").read_text().splitlines()
    return {name: int(value) for name, value in (line.split(": ") for line in lines)}


def _peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def least(source: Path, target: Path, passes: list[tuple[str, str, float]]) -> tuple[int, int]:
    """Return the bytes that the passes of a run cannot do without reading and writing."""
    checkpoints = sorted(Path(f"{target}.run/checkpoints").glob("*.zarr"))
    sizes = {"checkpoint": [size_of(path) for path in checkpoints], "result": [size_of(target)]}
    given, read, written = size_of(source), 0, 0
    for kind, _, _ in passes:
        read += given
        if kind in sizes:
            given = sizes[kind].pop(0)
            written += given
    return read, written


def measured(folder: Path, gigabytes: float, frame: int, preset: str | None, report: bool) -> dict[str, Any]:
    source, target = folder / "raw.zarr", folder / "clean.zarr"
    try:
        from stack3d.options import worker_count
        from stack3d.runs._forecast import peak_memory

        start = time.perf_counter()
        make(source, gigabytes, frame)
        print(f"made {gigabytes:g} GB in {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
        command = [sys.executable, __file__, "--job", str(source), str(target)]
        command += ["--report"] if report else []
        command += ["--preset", preset] if preset else []
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        facts["least_read"], facts["least_written"] = least(source, target, facts["passes"])
        facts["gigabytes"] = gigabytes
        facts["allowed"] = peak_memory((frame, frame), worker_count())
        return facts
    finally:
        for made in (source, target, Path(f"{target}.run")):
            shutil.rmtree(made, ignore_errors=True)
        Path(f"{target}.html").unlink(missing_ok=True)


def show(facts: dict[str, Any]) -> None:
    read, written = facts["read"] / facts["least_read"], facts["written"] / facts["least_written"]
    print(
        f"{facts['gigabytes']:g} GB, {facts['shape'][-3]} slices out: peak {facts['peak'] / 1e9:.2f} GB, "
        f"the plan allows {facts['allowed'] / 1e9:.2f} GB"
    )
    print(
        f"  {facts['seconds']:.0f} s, {facts['cpu']:.0f} s of processor: "
        + ", ".join(f"{name} {seconds} s" for _, name, seconds in facts["passes"])
    )
    print(f"  read {facts['read'] / 1e9:.2f} GB, {read:.2f} of the least")
    print(f"  written {facts['written'] / 1e9:.2f} GB, {written:.2f} of the least", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=16.0)
    parser.add_argument("--sizes", help="several sizes in GB, and the line through their times")
    parser.add_argument("--frame", type=int, default=FRAME, help="side of a frame in pixels")
    parser.add_argument("--folder", type=Path, default=Path("run-memory-benchmark"))
    parser.add_argument("--preset", help="the recipe, instead of the five steps")
    parser.add_argument("--report", action="store_true", help="with the report, which reads slices again")
    parser.add_argument("--job", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        job(*arguments.job, arguments.preset, arguments.report)
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    sizes = [arguments.gigabytes] if arguments.sizes is None else [float(size) for size in arguments.sizes.split(",")]
    found = []
    for gigabytes in sizes:
        found.append(measured(arguments.folder, gigabytes, arguments.frame, arguments.preset, arguments.report))
        show(found[-1])
    if len(found) > 2:
        for name in ("cpu", "seconds"):
            x, y = np.array([f["shape"][-3] for f in found]), np.array([f[name] for f in found])
            slope, start = np.polyfit(x, y, 1)
            off = np.abs(start + slope * x - y).max() / y.max()
            print(
                f"{name}: {start:.1f} s + {1e3 * slope:.0f} ms a slice; off that line by at most {100 * off:.1f} % of the longest"
            )


if __name__ == "__main__":
    main()
