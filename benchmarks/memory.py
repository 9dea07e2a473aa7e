"""Peak memory of the main job on a stack larger than the memory allowed.

    python benchmarks/memory.py --gigabytes 4 --folder DIR

Makes a synthetic stack of the given size on disk (once), then runs open, match_histograms, resample and save in a
process of its own and prints its peak resident memory, the time, and the rate.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

FRAME = 2048


def make(path: Path, gigabytes: float) -> None:
    import stack3d

    count = max(2, round(gigabytes * 1e9 / (FRAME * FRAME * 2)))
    defects = {"gain": True, "offset": True, "noise": True, "uneven_z": True}
    made = stack3d.synthetic.make_stack((count, FRAME, FRAME), defects=defects, lazy=True)
    made.stack.stack3d.save(path)


def job(source: Path, target: Path) -> None:
    import psutil

    import stack3d

    start = time.perf_counter()
    da = stack3d.open_stack(source)
    out = da.stack3d.match_histograms().stack3d.resample(dz="10 nm")
    out.stack3d.save(target, overwrite=True)
    seconds = time.perf_counter() - start
    usage = psutil.Process().memory_info()
    peak = getattr(usage, "peak_wset", None) or _peak()
    print(json.dumps({"bytes": da.nbytes, "slices": da.sizes["z"], "seconds": seconds, "peak": peak}))


def _peak() -> int:
    import resource

    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=4.3)
    parser.add_argument("--folder", type=Path, default=Path("memory-benchmark"))
    parser.add_argument("--job", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        job(*arguments.job)
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    source = arguments.folder / f"raw-{arguments.gigabytes:g}GB.zarr"
    if not source.exists():
        make(source, arguments.gigabytes)
    command = [sys.executable, __file__, "--job", str(source), str(arguments.folder / "clean.zarr")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{result['bytes'] / 1e9:.2f} GB, {result['slices']} slices of {FRAME} x {FRAME}: peak {result['peak'] / 1e9:.2f} GB, "
        f"{result['seconds']:.0f} s, {result['bytes'] / result['seconds'] / 1e6:.0f} MB/s"
    )


if __name__ == "__main__":
    main()
