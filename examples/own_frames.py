# %% [markdown]
# # Your own frames
#
# A folder with one file for each slice, their positions in the file names. Everything goes to the folder `own_frames`.

# %%
from pathlib import Path

import numpy as np
import tifffile

import stack3d

out = Path("own_frames")
out.mkdir(exist_ok=True)

# %% [markdown]
# ## A folder of frames
#
# Replace this part by the path of your folder. The names are those that PyStack3D uses:
# `slice_0003_z=0.0310um.tif`.

# %%
slices = out / "slices"
slices.mkdir(exist_ok=True)
made = stack3d.synthetic.make_stack((12, 96, 128), defects={"drift": 0.5, "noise": 0.02, "uneven_z": 0.2}, seed=3)
for number, frame in enumerate(made.stack):
    tifffile.imwrite(slices / f"slice_{number:04d}_z={float(frame.z) / 1000:.4f}um.tif", frame.values)

# %% [markdown]
# ## Open
#
# Slice numbers and positions come from the names; what only you know is the size of a pixel. Nothing is read but
# names and headers.

# %%
raw = stack3d.open_stack(slices, pixel_size="5 nm")
print(raw)
print(raw.z.values)  # in nm

# %% [markdown]
# Other names: say what they mean with a pattern. `{slice}` and `{z}` are fields, `*` is any text.

# %%
same = stack3d.open_stack(slices, pattern="slice_{slice}_z={z}um.tif", pixel_size=5)
print("opened alike:", same.identical(raw))

# %% [markdown]
# Names without a position: give the thickness of a slice as well, (dz, dy, dx).

# %%
plain = stack3d.open_stack(slices, pattern="slice_{slice}_*.tif", pixel_size=("10 nm", "5 nm", "5 nm"))
print(plain.z.values)

# %% [markdown]
# ## Work with it
#
# It is an `xarray.DataArray`: choose by position, compute with NumPy, and correct with methods that know of slices.

# %%
part = raw.sel(x=slice(100, 400))
print(part.sizes, float(part.mean()))
print(raw.stack3d.slice_statistics()["mean"].values.round())
even = raw.stack3d.register().stack3d.resample()
print("even slices:", even.z.values)

# %% [markdown]
# ## Save
#
# Zarr for more work, OME-TIFF for Fiji.

# %%
for name in ("even.zarr", "even.tif"):
    print(even.stack3d.save(out / name, overwrite=True))
again = stack3d.open_stack(out / "even.tif")
kept = bool(np.array_equal(again.values, even.values)) and again.stack3d.provenance == even.stack3d.provenance
print("values and record kept:", kept)
