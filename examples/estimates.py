# %% [markdown]
# # Estimates: measure, look, edit, apply
#
# What is measured on a stack is a thing of its own: look at it, mend it where it is wrong, use it for another
# detector. Here the drift is measured on one channel, one slice is mended, and both channels are moved alike.
# The picture goes to the folder `estimates`.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import stack3d

out = Path("estimates")
out.mkdir(exist_ok=True)

# %% [markdown]
# ## A stack with two detectors, drift, and a blank slice

# %%
made = stack3d.synthetic.make_stack(
    (30, 160, 192),
    channels=["SE", "BSE"],
    defects={"drift": 1.0, "noise": 0.02, "bad_slices": {"slices": {12: "blank"}}},
    seed=2,
)
raw = made.stack

# %% [markdown]
# ## Measure
#
# One pass over one channel, on a part of the frame if you like (`region=`). The result is an `xarray.Dataset`.

# %%
drift = raw.stack3d.estimate_transforms(channel="SE")
print(drift)

# %% [markdown]
# ## Look
#
# Shifts in nm for each slice, how well they are known, and which slices no trusted pair ties to the others.

# %%
fig, (top, bottom) = plt.subplots(2, 1, sharex=True, layout="constrained")
drift["shift_y"].plot(ax=top, label="y")
drift["shift_x"].plot(ax=top, label="x")
top.legend()
drift["quality"].plot(ax=bottom, marker=".")
fig.savefig(out / "drift.png")
bad = np.flatnonzero(~drift["valid"].values)
print("slices without a place of their own:", bad)

# %% [markdown]
# ## Edit
#
# The matrices are what is applied: they take a place (x, y, 1) of the aligned slice to the raw one, in pixels. The
# blank slice was put between its neighbours; suppose a log of the stage says that it lay where the one before did.

# %%
edited = drift.copy(deep=True)
for k in bad:
    edited["transform"][k] = drift["transform"][k - 1].values

# %% [markdown]
# ## Apply
#
# To both channels, and to one alone. An edited estimate travels in the record of the result, so that `replay` finds it.

# %%
aligned = raw.stack3d.apply_transforms(estimate=edited, crop="common")
back_scattered = raw.sel(channel="BSE").stack3d.apply_transforms(estimate=edited, crop="common")
same = bool(np.array_equal(aligned.sel(channel="BSE").values, back_scattered.values))
print("channel alone and with the other are equal:", same)
replayed = bool(np.array_equal(stack3d.replay(raw, aligned).values, aligned.values))
print("replayed with the edited estimate, equal to the bit:", replayed)

# %% [markdown]
# Keep it for later, as any Dataset.

# %%
edited.to_netcdf(out / "drift.nc")
plt.close("all")
