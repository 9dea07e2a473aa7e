"""Pictures made from the code at build time: what a page says is what this version does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import stack3d


def write_pictures(folder: Path) -> None:
    """Write all pictures into `folder`."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    trend(folder / "trend.png")


def oblique_stack(count: int = 60, size: int = 128):
    """Return a stack whose structure runs obliquely (0.6 pixel a slice along x), shaken by a jitter of 2 pixels."""
    from scipy import ndimage

    rng = np.random.default_rng(1)
    wide = ndimage.gaussian_filter(rng.standard_normal((count, size, 2 * size)), (8, 3, 3), mode="wrap")
    wide += 2 * ndimage.gaussian_filter(rng.standard_normal((size, 2 * size)), 5, mode="wrap")
    start = 60 - 0.6 * np.arange(count) - rng.normal(0, 2, count)
    frames = [
        ndimage.shift(frame, (0, -s), order=3, mode="wrap")[:, :size] for frame, s in zip(wide, start, strict=True)
    ]
    values = np.stack(frames) / wide.std() * 30 + 128
    return stack3d.from_array(values.clip(0, 255).astype("uint8"), pixel_size=10)


def trend(path: Path) -> None:
    """Draw one oblique, shaken stack: raw, with the whole displacement taken out, and with its trend left in."""
    import matplotlib.pyplot as plt

    da = oblique_stack()
    everything = da.stack3d.estimate_transforms()
    jitter = stack3d.transforms.detrend(everything, "linear", anchor="first")
    stacks = {
        "raw": da,
        'trend="keep"': da.stack3d.apply_transforms(estimate=everything),
        'trend="linear"': da.stack3d.apply_transforms(estimate=jitter),
    }
    figure, axes = plt.subplots(1, 4, figsize=(12, 3.2), layout="constrained", width_ratios=(1, 1, 1, 1.2))
    for ax, (title, stack) in zip(axes, stacks.items(), strict=False):
        ax.imshow(stack.values[:, da.sizes["y"] // 2], cmap="gray", aspect="auto")
        ax.set(title=title, xlabel="x / pixel", ylabel="slice")
    stack3d.plotting.transforms(everything, other=jitter, ax=axes[3])
    axes[3].set_title("what is corrected (dashed: linear)")
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    write_pictures(Path(__file__).parent / "operations" / "generated")
