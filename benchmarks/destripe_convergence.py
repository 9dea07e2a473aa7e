"""How far VSNR is from its limit after a number of iterations, and where it stops by itself.

Run: OMP_NUM_THREADS=1 python benchmarks/destripe_convergence.py [size]
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from destripe_speed import frame_of

from stack3d.kernels import _vsnr_descent, vsnr

COUNTS = (4, 6, 8, 10, 12)
CASES = [
    *(("any width", (0.0, 128.0), 0.0, None, boundary) for boundary in ("reflect", "periodic")),
    *(((f"(1, 60), level {level:g}"), (1.0, 60.0), 0.0, level, "reflect") for level in (5.0, 50.0, 500.0)),
    *(((f"(0.5, 200), level {level:g}"), (0.5, 200.0), 0.0, level, "periodic") for level in (50.0, 500.0)),
    *(((f"(2, 80), 10°, level {level:g}"), (2.0, 80.0), 10.0, level, "reflect") for level in (5.0, 50.0, 500.0)),
    *(((f"(2, 80), 10°, level {level:g}"), (2.0, 80.0), 10.0, level, "periodic") for level in (50.0, 500.0)),
    ("points, level 0.5", None, 0.0, 0.5, "reflect"),
]


def main(size: int) -> None:
    print("| filter | boundary |", " | ".join(f"{count}" for count in COUNTS), "| by default | in iterations |")
    print("|---|---|" + "---|" * (len(COUNTS) + 2))
    passes = [0]
    step = _vsnr_descent._Steps.after

    def counted(self, *arguments):
        passes[0] += 1
        return step(self, *arguments)

    _vsnr_descent._Steps.after = counted
    for name, sigma, angle, level, boundary in CASES:
        frame = frame_of(size, angle)
        filters = [vsnr.Filter("gabor", sigma, angle, level) if sigma else vsnr.Filter("dirac", noise_level=level)]
        plan = vsnr.plan(frame.shape, filters=filters, boundary=boundary)
        limit = vsnr.stripes(frame, plan._replace(max_iter=300 if sigma is None else 100, tol=0.0))

        def error(plan, frame=frame, limit=limit):
            return float(np.sqrt(np.mean((vsnr.stripes(frame, plan) - limit) ** 2)) / np.ptp(frame))

        errors = [error(plan._replace(max_iter=count, tol=0.0)) for count in COUNTS]
        passes[0] = 0
        errors.append(error(plan))
        shown = " | ".join(f"{value:.1e}" for value in errors)
        print(f"| {name} | {boundary} | {shown} | {passes[0] or vsnr.SPLIT_ITERATIONS} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 512)
