"""Hot pixels by default: how many pixels of clean texture are flagged, and how many of 40 planted ones are found.

    python benchmarks/hot_pixels.py FOLDER

FOLDER holds a FIB-SEM volume as numbered 8-bit frames, such as `fib25/sample1`. It is taken as acquired and re-sliced along
y, in parts of 10, 50 and 250 slices; 40 grey levels are planted. Synthetic stacks have sharp structure and little noise.
For comparison the plain rule: 12 robust standard deviations of the mean frame, or 30.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from skimage.io import imread

import stack3d


def stacks(folder: Path) -> Iterator[tuple[str, np.ndarray, float]]:
    """Yield a name, a clean stack and the height of what is planted."""
    volume = np.stack([imread(file) for file in sorted(folder.glob("*.png"))])
    for name, values in (("as acquired", volume), ("along y", volume.transpose(1, 0, 2))):
        for count in (10, 50, 250):
            yield f"{folder.name}, {name}, {count} slices", values[:count], 40.0
    for texture in ("tissue", "porous"):
        for noise in (0.0, 0.02, 0.05):
            for count in (8, 40):
                defects = {"noise": noise} if noise else {}
                made = stack3d.synthetic.make_stack((count, 200, 200), texture=texture, defects=defects, seed=1)
                values = made.stack.values
                yield (
                    f"synthetic {texture}, noise {noise:.0%}, {count} slices",
                    values,
                    0.157 * float(np.percentile(values, 99.9)),
                )


def plain(values: np.ndarray, deviations: float) -> np.ndarray:
    found = stack3d.from_array(values, pixel_size=5).stack3d.detect_hot_pixels(threshold=1.0)
    again = stack3d.from_array(values, pixel_size=5).stack3d.detect_hot_pixels(
        threshold=deviations * float(found["scale"])
    )
    return np.asarray(again["hot_pixels"].values != 0)


def default(values: np.ndarray) -> np.ndarray:
    return np.asarray(stack3d.from_array(values, pixel_size=5).stack3d.detect_hot_pixels()["hot_pixels"].values != 0)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    stack3d.set_options(progress=False)
    print("| flagged in the clean stack / found of 40 | 12 deviations | 30 deviations | default |\n|---|---|---|---|")
    rng = np.random.default_rng(0)
    for name, values, height in stacks(given.folder):
        y, x = (rng.integers(2, size - 2, 40) for size in values.shape[1:])
        planted = values.astype(np.float32)
        planted[:, y, x] += height
        rules = (lambda v: plain(v, 12), lambda v: plain(v, 30), default)
        cells = [f"{int(rule(values).sum())} / {int(rule(planted)[y, x].sum())}" for rule in rules]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
