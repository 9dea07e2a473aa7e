"""Which order of steps suits a FIB-SEM stack: error against the truth after every step, on real tissue with all defects.

    python benchmarks/presets.py fib25/sample1 [--only "level,no background"]

FOLDER holds an isotropic volume, re-sliced along y as in real_tissue.py, which also measures the error.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import stack3d

sys.path.insert(0, str(Path(__file__).parent))
import real_tissue

DEFECTS = {
    "drift": {"step": 0.5, "trend": (0.03, -0.02)},
    "gain": {"jitter": 0.04, "blocks": 1, "block_change": 0.1},
    "offset": {"jitter": 0.03},
    "background": {"amount": 0.25},
    "stripes": {"amount": 0.15, "density": 60.0},
    "noise": {"gaussian": 0.03, "electrons": None},
    "uneven_z": {"missing": 0.05},
    "bad_slices": {"fraction": 0.06, "kinds": ("blank", "charged", "blurred")},
    "hot_pixels": True,
}
FLAG, LAST = ("replace_slices", {"method": "flag"}), ("replace_slices", {})
FILL, BACKGROUND = ("fill_pixels", {}), ("remove_background", {})
HISTOGRAMS, LEVELS = ("match_histograms", {"window": 41}), ("level_slices", {})
REGISTER, DESTRIPE = ("register", {"crop": "common"}), ("destripe", {"neighbours": 2})
CHAINS = {
    "histograms": [FLAG, FILL, BACKGROUND, HISTOGRAMS, REGISTER, DESTRIPE, LAST],
    "stripes first": [FLAG, FILL, BACKGROUND, HISTOGRAMS, ("destripe", {}), REGISTER, LAST],
    "background after": [FLAG, FILL, HISTOGRAMS, BACKGROUND, REGISTER, DESTRIPE, LAST],
    "level": [FLAG, FILL, BACKGROUND, LEVELS, REGISTER, DESTRIPE, LAST],
    "no background": [FLAG, FILL, HISTOGRAMS, REGISTER, DESTRIPE, LAST],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="some of the chains, parted by commas")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    stack3d.set_options(progress=False)
    volume = stack3d.open_stack(arguments.folder, pixel_size=10, on_gap="ignore").compute()
    truth = volume.drop_vars("slice_number").stack3d.reslice(axis="y").isel(z=slice(0, 56))
    made = stack3d.synthetic.add_defects(truth, defects=DEFECTS, seed=arguments.seed)
    for name in arguments.only.split(",") if arguments.only else CHAINS:
        stages = [made.stack.astype("float32", keep_attrs=True)]
        for step in CHAINS[name]:
            stages.append(stack3d.Recipe([step]).apply(stages[-1]))
        common = {dim: stages[-1][dim].values[24:-24] for dim in ("y", "x")}
        errors = [real_tissue.error(stage, made, common) for stage in stages]
        labels = ["raw", *(operation for operation, _ in CHAINS[name])]
        print(f"{name}: " + ", ".join(f"{label} {value:.2f}" for label, value in zip(labels, errors)), flush=True)


if __name__ == "__main__":
    main()
