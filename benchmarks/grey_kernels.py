"""Times of the kernels for grey values and resampling beside numpy, scikit-image and OpenCV: medians, one thread.

``python benchmarks/grey_kernels.py [size] [dtype]``

The last column counts copies of the frame, timed beside each row: one read and one write are the least a step needs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import cv2
import numpy as np
from skimage.exposure import match_histograms, rescale_intensity
from skimage.measure import block_reduce

from stack3d.kernels import binning, blend, cast, curve, histogram, regrid, statistics, surface


def median_ms(function: Callable[[], object], repeats: int = 9) -> float:
    function()  # compiled, and its memory touched
    times = []
    for _ in range(repeats):
        begin = time.thread_time()
        function()
        times.append(time.thread_time() - begin)
    return float(np.median(times)) * 1e3


def main(size: int = 2048, dtype: str = "uint16") -> None:
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    scale = 1 / 257 if dtype == "uint8" else 1.0
    frame = (rng.normal(20000, 4000, (size, size)).clip(0, 65535) * scale).astype(dtype)
    other = (frame * 0.9 + 50 * scale).astype(dtype)
    floats = frame.astype("float32")
    counts, low, step = histogram.compress(frame, 1024)
    x, y = histogram.matching_curve(
        counts, low, step, *histogram.mixture(*([part] for part in histogram.compress(other, 1024)))
    )
    place = np.arange(size) * 0.9
    grid_y, grid_x = (part.astype("float32") for part in np.meshgrid(place, place, indexing="ij"))
    cells = regrid.area_weights(np.arange(size + 1), np.linspace(0, size, size * 2 // 5 + 1))
    info = np.iinfo(dtype)
    unit, matrix = np.linspace(0, 1, size), np.array([[0.0, 900, 300], [-700, 200, 0], [400, 0, 0]]) * scale

    def numpy_surface() -> object:
        v, u = unit[:, None], unit[None, :]
        terms = ((i, j) for i, j in np.ndindex(3, 3) if matrix[i, j])
        found = sum(matrix[i, j] * v**i * u**j for i, j in terms)
        return np.rint(frame - found + 100 * scale).clip(info.min, info.max).astype(dtype)

    quarters = [0.0005, 0.25, 0.5, 0.75, 0.9995]

    def match() -> object:
        own = histogram.compress(frame, 1024)
        return curve.apply_curve(frame, *histogram.matching_curve(*own, x, np.linspace(0, 1, x.size)), dtype)

    rows: list[tuple[str, Callable[[], object], str, Callable[[], object]]] = [
        (
            "cast float32",
            lambda: cast.cast_frame(floats, dtype),
            "numpy rint, clip",
            lambda: np.clip(np.rint(floats), info.min, info.max).astype(dtype),
        ),
        (
            "frame_statistics",
            lambda: statistics.frame_statistics(frame),
            "numpy min, max, mean, std",
            lambda: (frame.min(), frame.max(), frame.mean(), frame.std()),
        ),
        (
            "frame_statistics float32",
            lambda: statistics.frame_statistics(floats),
            "numpy nanmin ... nanstd",
            lambda: (np.nanmin(floats), np.nanmax(floats), np.nanmean(floats), np.nanstd(floats)),
        ),
        ("5 quantiles", lambda: statistics.quantiles(frame, quarters), "numpy", lambda: np.quantile(frame, quarters)),
        (
            "5 quantiles float32",
            lambda: statistics.quantiles(floats, quarters),
            "numpy",
            lambda: np.quantile(floats, quarters),
        ),
        (
            "median_and_mad",
            lambda: statistics.median_and_mad(frame),
            "numpy",
            lambda: np.median(np.abs(frame.astype("float32") - np.median(frame))),
        ),
        (
            "compress 1024 bins",
            lambda: histogram.compress(frame, 1024),
            "numpy.histogram",
            lambda: np.histogram(frame, 1024),
        ),
        ("match: histogram and curve", match, "skimage match_histograms", lambda: match_histograms(frame, other)),
        (
            "apply_curve",
            lambda: curve.apply_curve(frame, x, y, dtype),
            "numpy interp",
            lambda: np.rint(np.interp(frame, x, y)).astype(dtype),
        ),
        (
            "apply_curve float32",
            lambda: curve.apply_curve(floats, x, y, "float32"),
            "numpy interp",
            lambda: np.interp(floats, x, y).astype("float32"),
        ),
        (
            "scale_offset",
            lambda: curve.scale_offset(frame, 1.1, -30, dtype),
            "cv2.addWeighted",
            lambda: cv2.addWeighted(frame, 1.1, frame, 0.0, -30),
        ),
        (
            "polynomial taken out",
            lambda: surface.take_out(
                frame, unit, unit, matrix, 100 * scale, dtype, kind="polynomial", divide=False, dark=0.0
            ),
            "numpy",
            numpy_surface,
        ),
        (
            "rescale to 8 bits",
            lambda: curve.rescale(frame, 9000 * scale, 31000 * scale, 0, 255, "uint8"),
            "skimage rescale_intensity",
            lambda: rescale_intensity(frame, (9000 * scale, 31000 * scale), (0, 255)).astype("uint8"),
        ),
        ("bin 2 x 2", lambda: binning.bin_frame(frame, 2, 2), "skimage", lambda: block_reduce(frame, (2, 2), np.mean)),
        (
            "bin 4 x 4 median",
            lambda: binning.bin_frame(frame, 4, 4, "median"),
            "skimage",
            lambda: block_reduce(frame, (4, 4), np.median),
        ),
        (
            "blend 2",
            lambda: blend.blend_frames([frame, other], [0.3, 0.7], dtype),
            "cv2.addWeighted",
            lambda: cv2.addWeighted(frame, 0.3, other, 0.7, 0),
        ),
        (
            "blend 2 float32",
            lambda: blend.blend_frames([floats, floats], [0.3, 0.7], "float32"),
            "cv2.addWeighted",
            lambda: cv2.addWeighted(floats, 0.3, floats, 0.7, 0),
        ),
        (
            "blend 4",
            lambda: blend.blend_frames([frame, other] * 2, [-0.06, 0.56, 0.56, -0.06], dtype),
            "numpy",
            lambda: np.rint(0.56 * (floats + floats) - 0.06 * (floats + floats)).astype(dtype),
        ),
        (
            "linear_frame",
            lambda: regrid.linear_frame(frame, place, place, dtype),
            "cv2.remap",
            lambda: cv2.remap(frame, grid_x, grid_y, cv2.INTER_LINEAR),
        ),
        (
            "area_frame by 2.5",
            lambda: regrid.area_frame(frame, cells, cells, dtype),
            "cv2.resize area",
            lambda: cv2.resize(frame, (len(cells), len(cells)), interpolation=cv2.INTER_AREA),
        ),
    ]
    print(f"{size} x {size} {dtype}, ms of one thread")
    for name, ours, peer, theirs in rows:
        copied, a, b = median_ms(frame.copy), median_ms(ours), median_ms(theirs, 3)
        print(f"{name:28s} {a:8.2f}   {peer:26s} {b:8.2f}   x {b / a:6.1f}   {a / copied:6.1f} copies")


if __name__ == "__main__":
    main(*(kind(value) for kind, value in zip((int, str), sys.argv[1:])))
