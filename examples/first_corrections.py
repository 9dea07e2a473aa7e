# %% [markdown]
# # First corrections
#
# From a raw stack to a clean file, and back to the raw stack again: open, look, correct, look, save, replay.
# The stack is made up, so that the result can be compared with the truth. Pictures and files go to the folder
# `first_corrections`.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import stack3d

out = Path("first_corrections")
out.mkdir(exist_ok=True)

# %% [markdown]
# ## The raw stack
#
# Slices at uneven positions, that drift and change in brightness. With your own slices this is
# `raw = stack3d.open_stack("slices/", pixel_size=5)`: see `own_frames.py`.

# %%
defects = {"drift": 0.8, "gain": True, "offset": True, "noise": 0.01, "uneven_z": True}
made = stack3d.synthetic.make_stack((40, 256, 256), defects=defects, seed=1, lazy=True)
raw = made.stack
print(raw)

# %% [markdown]
# Jumps of brightness show in the profiles, drift in the planes along z.

# %%
raw.stack3d.plot.profiles().figure.savefig(out / "raw_profiles.png")
raw.stack3d.plot.cut_planes()["xy"].figure.savefig(out / "raw_planes.png")

# %% [markdown]
# ## Corrections
#
# Each is a method, and they chain. `level_slices` and `register` measure the whole stack at once; the pixels are
# not computed before they are wanted.

# %%
clean = (
    raw.stack3d.level_slices(window=15)  # brightness and contrast from slice to slice
    .stack3d.register(model="translation", crop="common")  # drift
    .stack3d.resample(dz="10 nm")  # even slices from their true positions
)
print(clean.stack3d.pixel_size)

# %% [markdown]
# A few slices before and after: only these are computed.

# %%
clean.stack3d.plot.compare(raw, z=[5, 20])[0][0].figure.savefig(out / "before_and_after.png")

# %% [markdown]
# ## Save
#
# Frames stream to the store; it takes its name when it is whole.

# %%
path = clean.stack3d.save(out / "clean.zarr", overwrite=True)
clean = stack3d.open_stack(path)
clean.stack3d.plot.cut_planes()["xy"].figure.savefig(out / "clean_planes.png")

# %% [markdown]
# ## Replay
#
# The file says how it was made. From the raw stack the same is made again, equal to the bit.

# %%
for step in clean.stack3d.provenance:
    print(step["operation"], step["parameters"])
again = stack3d.replay(raw, clean)
same = bool(np.array_equal(again.values, clean.values))
print("made again from the raw stack, equal to the bit:", same)

# %% [markdown]
# ## Was it worth it?
#
# The truth of a made-up stack is known anywhere, also on the new grid.


# %%
def error(da):
    """Return the rms difference from the truth, in percent of its range of grey values."""
    truth = made.truth_on(da).values
    return 100 * np.sqrt(np.mean((da.values.astype(np.float32) - truth) ** 2)) / np.ptp(truth)


before, after = error(raw), error(clean)
print(f"error before {before:.1f} %, after {after:.1f} %")
plt.close("all")
