"""Peak memory, bytes read and written, and time of a whole run on a stack larger than the memory allowed.

    python benchmarks/run_memory.py --gigabytes 16 --folder DIR
    python benchmarks/run_memory.py --sizes 0.5,1,2,4 --folder DIR
    python benchmarks/run_memory.py --gigabytes 0.8 --frame 4096 --folder DIR

Streams a synthetic stack to disk, then runs a recipe (crop, level_slices, register, destripe, resample) in a process of its
own, which counts what its system calls read and wrote (``/proc/self/io``: Linux). Beside each figure stands the least it
could be: one read of the stack for each estimate and one to apply, one write of the result. Deletes what it made.
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


def job(source: Path, target: Path, report: bool) -> None:
    import stack3d

    before = _moved()
    start = time.perf_counter()
    clean = stack3d.run(stack3d.Recipe(STEPS, input={"path": str(source)}), out=target, report=report)
    seconds = time.perf_counter() - start
    after = _moved()
    used = os.times()
    state = json.loads(Path(f"{target}.run/state.json").read_text())
    kept = sum(1 for step in state["steps"] if "estimate" in step)
    facts = {
        "shape": list(clean.shape),
        "seconds": seconds,
        "cpu": used.user + used.system,
        "peak": _peak(),
        "read": after["rchar"] - before["rchar"],
        "written": after["wchar"] - before["wchar"],
        "estimates": kept,
        "steps": {step["operation"]: step["seconds"] for step in state["steps"]},
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


def measured(folder: Path, gigabytes: float, frame: int, report: bool) -> dict[str, Any]:
    source, target = folder / "raw.zarr", folder / "clean.zarr"
    try:
        from stack3d.options import worker_count
        from stack3d.runs._forecast import peak_memory

        start = time.perf_counter()
        make(source, gigabytes, frame)
        print(f"made {gigabytes:g} GB in {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
        command = [sys.executable, __file__, "--job", str(source), str(target)]
        command += ["--report"] if report else []
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        facts["least_read"] = (facts["estimates"] + 1) * size_of(source)
        facts["least_written"] = size_of(target)
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
    print(f"  {facts['seconds']:.0f} s, {facts['cpu']:.0f} s of processor; waited for at each step: {facts['steps']}")
    print(
        f"  read {facts['read'] / 1e9:.2f} GB, {read:.2f} of the least ({facts['estimates']} estimates and the result)"
    )
    print(f"  written {facts['written'] / 1e9:.2f} GB, {written:.2f} of the least", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=16.0)
    parser.add_argument("--sizes", help="several sizes in GB, and the line through their times")
    parser.add_argument("--frame", type=int, default=FRAME, help="side of a frame in pixels")
    parser.add_argument("--folder", type=Path, default=Path("run-memory-benchmark"))
    parser.add_argument("--report", action="store_true", help="with the report, which reads slices again")
    parser.add_argument("--job", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        job(*arguments.job, arguments.report)
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    sizes = [arguments.gigabytes] if arguments.sizes is None else [float(size) for size in arguments.sizes.split(",")]
    found = []
    for gigabytes in sizes:
        found.append(measured(arguments.folder, gigabytes, arguments.frame, arguments.report))
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
