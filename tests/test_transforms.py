"""Transforms edited: trends by their formulas, order of composition, bounds, tables; each edit recorded and pure."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage, signal

import stack3d
from stack3d import transforms
from stack3d.grid import Frame

COUNT, SHAPE = 40, (48, 64)
CENTRE = np.array([(SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2, 1.0])


def stack_of(count: int = COUNT, z=None, dtype=np.float32) -> xr.DataArray:
    size = (20.0, 5.0, 4.0) if z is None else (5.0, 4.0)
    return stack3d.from_array(np.zeros((count, *SHAPE), dtype), pixel_size=size, z=z)


def poses(seed: int = 0, count: int = COUNT, turn: float = 3.0, shift: float = 6.0) -> np.ndarray:
    """Return matrices with rotation, scale, shear and shift, about the corner of the frame; the first is still."""
    rng = np.random.default_rng(seed)
    angle = np.radians(turn) * rng.standard_normal(count)
    out = np.tile(np.eye(3), (count, 1, 1))
    out[:, 0, 0], out[:, 0, 1] = np.cos(angle), -np.sin(angle)
    out[:, 1, 0], out[:, 1, 1] = np.sin(angle), np.cos(angle)
    out[:, :2, :2] += 0.01 * rng.standard_normal((count, 2, 2))
    out[:, :2, 2] = shift * rng.standard_normal((count, 2))
    out[0] = np.eye(3)
    return out


def walk(seed: int = 1, count: int = COUNT) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).normal(0.2, 1, (count, 2)), axis=0)


def shifts(estimate: xr.Dataset) -> np.ndarray:
    return estimate["transform"].values[:, 1::-1, 2]


@pytest.mark.parametrize("spacing", [(5.0, 5.0), (5.0, 4.0)])
def test_parameters_say_what_the_content_of_a_raw_slice_did(spacing):
    # A matrix that turns content by +7 degrees counter-clockwise on screen (y down) about the centre, in nm.
    angle, scale, moved = np.radians(7), 1.02, np.array([12.0, -8.0])
    turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    to_pixels = np.diag([1 / spacing[1], 1 / spacing[0]])
    linear = to_pixels @ turn @ np.linalg.inv(to_pixels)
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = CENTRE[:2] + to_pixels @ moved[::-1] - linear @ CENTRE[:2]
    da = stack3d.from_array(np.zeros((1, *SHAPE), "u1"), pixel_size=(20.0, *spacing))
    made = transforms.from_matrices(da, matrix[None])
    expected = {"rotation": 7, "scale": scale, "scale_x": scale, "scale_y": scale, "shear": 0}
    expected |= {"shift_y": moved[0], "shift_x": moved[1]}
    for name, value in expected.items():
        np.testing.assert_allclose(made[name].values, value, atol=1e-9, err_msg=name)


def test_box_size_averaging_of_pystack3d():
    matrices = poses()
    made = transforms.from_matrices(stack_of(), matrices)
    for window in (2, 5, 12):
        expected = matrices + np.eye(3) - ndimage.uniform_filter1d(matrices, window, axis=0, mode="reflect")
        got = transforms.detrend(made, "mean", window=window)
        np.testing.assert_allclose(got["transform"], expected, atol=1e-12)


def test_constant_drift_of_pystack3d():
    matrices = poses()
    expected = matrices.copy()
    expected[:, 0, 2] -= np.arange(COUNT) * 0.7
    expected[:, 1, 2] -= np.arange(COUNT) * -0.2
    made = transforms.from_matrices(stack_of(), matrices)
    for slope in (("-0.2 px", "0.7 px"), (-1.0, 2.8), ("-0.001 um", "2.8 nm")):
        np.testing.assert_allclose(transforms.detrend(made, slope=slope)["transform"], expected, atol=1e-12)


@pytest.mark.parametrize("kind", ["line", "polynomial", "savgol"])
def test_preserve_scales_and_subtract_linear_fit_of_shtengel(kind):
    # Their chain on matched points: points of each slice spread evenly about its centre, and where the next shows them.
    rng = np.random.default_rng(4)
    pair = poses(5, turn=0.5, shift=2.0)
    offsets = rng.uniform(-20, 20, (30, 2))
    source = CENTRE[:2] + np.concatenate([offsets, -offsets])
    target = [source @ m[:2, :2].T + m[:2, 2] for m in pair[1:]]
    total = [np.eye(3)]
    for matrix in pair[1:]:
        total.append(matrix @ total[-1])
    total = np.array(total)
    # Trend of the four linear terms, by their formulas.
    frame = np.arange(COUNT)
    linear = total[:, :2, :2].copy()
    for i in range(2):
        for j in range(2):
            s = total[:, i, j]
            if kind == "line":
                trend = (i == j) + frame * np.sum(frame * (s - (i == j))) / np.sum(frame**2)
            elif kind == "polynomial":
                trend = np.polyval(np.polyfit(frame, s, 2), frame)
            else:
                trend = signal.savgol_filter(s, 11, 3)
            linear[:, i, j] = s + (i == j) - trend
    # Shifts made anew from the matched points (the exact recurrence).
    t = np.zeros((COUNT, 2))
    if kind != "line":
        t[0] = total[0, :2, 2]
    for k in range(COUNT - 1):
        back = np.linalg.solve(linear[k], (source - t[k]).T).T
        t[k + 1] = np.mean(target[k] - back @ linear[k + 1].T, axis=0)
    made = transforms.from_matrices(stack_of(), total)
    options = {
        "line": {"trend": "linear", "anchor": "through"},
        "polynomial": {"trend": "polynomial"},
        "savgol": {"trend": "savgol", "window": 11},
    }[kind]
    kept = transforms.detrend(made, of="shape", **options)
    np.testing.assert_allclose(kept["transform"][:, :2, :2], linear, atol=1e-10)
    np.testing.assert_allclose(kept["transform"][:, :2, 2], t, atol=1e-8)
    # Then a line is fitted to the shifts (of the centre, here) and subtracted, the first slice back at its place.
    at_centre = linear @ CENTRE[:2] + t - CENTRE[:2]
    for axis, name in enumerate(("shift_x", "shift_y")):
        slope, offset = np.polyfit(frame, at_centre[:, axis], 1)
        left = at_centre[:, axis] - slope * frame - offset
        left = left - left[0] + at_centre[0, axis]
        final = transforms.detrend(kept, "linear", of="shift", anchor="first")
        np.testing.assert_allclose(final[name] / (4.0 if axis == 0 else 5.0), left, atol=1e-8)
        np.testing.assert_array_equal(final["transform"][:, :2, :2], kept["transform"][:, :2, :2])


def test_savgol_on_even_slices_is_scipys():
    made = transforms.from_shifts(stack_of(), *walk().T, units="px")
    got = transforms.detrend(made, "savgol", window=9, degree=2)
    expected = shifts(made) - signal.savgol_filter(shifts(made), 9, 2, axis=0, mode="interp")
    np.testing.assert_allclose(shifts(got), expected, atol=1e-10)


@pytest.mark.parametrize(
    ("trend", "options"), [("linear", {}), ("polynomial", {"degree": 3}), ("savgol", {"window": 15})]
)
def test_trends_follow_the_true_positions_and_good_slices(trend, options):
    z = np.cumsum(np.random.default_rng(2).uniform(5, 40, COUNT))
    da = stack_of(z=z)
    x = (z - z.mean()) / np.ptp(z)
    curve = 3 * x if trend == "linear" else 3 * x - 5 * x**2 + 40 * x**3
    curve[7] = 1000
    known = transforms.from_shifts(da, curve, 2 * curve, units="px")
    # The slice that is off by far counts for nothing once it is known to be bad.
    bad = known.assign(valid=("z", np.arange(COUNT) != 7))
    left = shifts(transforms.detrend(bad, trend, **options))
    np.testing.assert_allclose(np.delete(left, 7, axis=0), 0, atol=1e-9)
    assert left[7, 0] > 900


def test_anchors_keep_the_first_good_slice_in_its_place():
    matrices = poses(3)
    matrices[0, :2, 2] = (2.0, -1.0)
    made = transforms.from_matrices(stack_of(), matrices)
    for options in ({"trend": "linear", "anchor": "first"}, {"trend": "polynomial", "anchor": "through"}):
        np.testing.assert_allclose(transforms.detrend(made, **options)["transform"][0], matrices[0], atol=1e-12)
    assert abs(transforms.detrend(made, "linear")["transform"][0] - matrices[0]).max() > 0.1


def test_translations_stay_exactly_that():
    made = transforms.from_shifts(stack_of(), *walk().T, units="px")
    edits = [transforms.detrend(made, t) for t in ("linear", "polynomial", "savgol", "mean")]
    edits += [transforms.smooth(made, "mean", window=7), transforms.inverse(made), transforms.compose(made, made)]
    edits += [transforms.detrend(made, of="shape"), transforms.limit(made, shift="1 px"), transforms.bridge(made, [4])]
    for edited in edits:
        np.testing.assert_array_equal(edited["transform"][:, :2, :2], np.broadcast_to(np.eye(2), (COUNT, 2, 2)))
        np.testing.assert_array_equal(edited["transform"][:, 2], np.broadcast_to([0.0, 0, 1], (COUNT, 3)))


@pytest.mark.parametrize("trend", ["linear", "polynomial", "savgol", "mean"])
def test_what_is_smoothed_and_what_is_left_add_up(trend):
    made = transforms.from_matrices(stack_of(), poses())
    slow, fast = transforms.smooth(made, trend), transforms.detrend(made, trend)
    np.testing.assert_allclose(slow["transform"] + fast["transform"] - np.eye(3), made["transform"], atol=1e-10)


def smooth_image(points: np.ndarray) -> np.ndarray:
    x, y = points[..., 0], points[..., 1]
    return 1000 + 300 * np.sin(x / 5) * np.cos(y / 6) + 200 * np.cos((x + 2 * y) / 11)


def seen_through(matrices: np.ndarray) -> np.ndarray:
    """Return raw frames of an aligned scene: a raw pixel shows what lies at the inverse of its matrix."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    grid = np.stack([x, y, np.ones_like(x)], axis=-1).astype(float)
    return np.stack([smooth_image(grid @ np.linalg.inv(m).T) for m in matrices]).astype(np.float32)


def test_composing_joins_two_steps_in_the_right_order():
    first, second = (poses(seed, 4, turn=2.0, shift=1.0) for seed in (1, 2))
    total = np.einsum("nij,njk->nik", first, second)
    raw = stack3d.from_array(seen_through(total), pixel_size=(20, 5, 4))
    a, b = (transforms.from_matrices(raw, m) for m in (first, second))
    both = transforms.compose(a, b)
    np.testing.assert_allclose(both["transform"], total, atol=1e-12)
    once = raw.stack3d.apply_transforms(estimate=both)
    twice = raw.stack3d.apply_transforms(estimate=a).stack3d.apply_transforms(estimate=b)
    inner = (slice(None), slice(14, -14), slice(14, -14))
    scene = np.broadcast_to(seen_through(np.eye(3)[None]), raw.shape)
    for result, tolerance in ((once, 2.0), (twice, 4.0)):
        np.testing.assert_allclose(result.values[inner], scene[inner], atol=tolerance)
    wrong = raw.stack3d.apply_transforms(estimate=transforms.compose(b, a))
    assert np.abs(wrong.values - scene)[inner].max() > 10


def test_composing_with_a_step_measured_on_a_part_of_the_frame_and_of_the_slices():
    raw = stack_of()
    a = transforms.from_matrices(raw, poses(1))
    part = raw.stack3d.crop(z=slice(5, 25), y=slice(8, 40), x=slice(16, 60), by="index").stack3d.bin(y=2, x=2)
    b = transforms.from_matrices(part, poses(2, 20))
    both = transforms.compose(a, b)
    np.testing.assert_array_equal(both["z"], part["z"])
    # The same place in nm, by either way.
    frames = [Frame.of(da).to_physical() for da in (raw, part)]
    point = np.array([150.0, 110.0, 1.0])
    for k in range(20):
        middle = frames[1] @ b["transform"].values[k] @ np.linalg.solve(frames[1], point)
        expected = frames[0] @ a["transform"].values[k + 5] @ np.linalg.solve(frames[0], middle)
        got = frames[0] @ both["transform"].values[k] @ np.linalg.solve(frames[0], point)
        np.testing.assert_allclose(got, expected, atol=1e-9)
    with pytest.raises(ValueError, match="no slice at z"):
        transforms.compose(transforms.from_matrices(part, poses(2, 20)), a)


def test_there_and_back_is_where_one_was():
    matrices = poses(6, 4, shift=2.0)
    raw = stack3d.from_array(seen_through(matrices), pixel_size=(20, 5, 4))
    there = transforms.from_matrices(raw, matrices)
    back = transforms.inverse(there)
    still = np.broadcast_to(np.eye(3), (4, 3, 3))
    for one, two in ((there, back), (back, there)):
        np.testing.assert_allclose(transforms.compose(one, two)["transform"], still, atol=1e-12)
    again = raw.stack3d.apply_transforms(estimate=there).stack3d.apply_transforms(estimate=back)
    inner = (slice(None), slice(14, -14), slice(14, -14))
    np.testing.assert_allclose(again.values[inner], raw.values[inner], atol=4)
    folded = transforms.from_matrices(stack_of(1), np.array([[[1.0, 1, 0], [1, 1, 0], [0, 0, 1]]]))
    with pytest.raises(ValueError, match=r"slice 0 .* no inverse"):
        transforms.inverse(folded)


def test_limits_clip_shifts_or_bridge_slices():
    values = np.zeros((COUNT, 2))
    values[10], values[20] = (9, -9), (0, 4)
    made = transforms.from_shifts(stack_of(), *values.T, units="px")
    clipped = transforms.limit(made, shift=("3 px", 20.0))
    np.testing.assert_allclose(shifts(clipped)[[10, 20]], [[3, -5], [0, 4]])
    assert bool(clipped["valid"].all())
    bridged = transforms.limit(made, shift="5 px", action="bridge")
    np.testing.assert_array_equal(bridged["valid"], np.arange(COUNT) != 10)
    np.testing.assert_array_equal(shifts(bridged)[10], [0, 0])
    turned = transforms.limit(transforms.from_matrices(stack_of(), poses()), rotation=4, scale=0.02, action="bridge")
    assert 3 < int(turned["valid"].sum()) < COUNT
    assert float(abs(turned["rotation"]).max()) <= 4.0001


def test_bad_slices_are_put_on_the_line_between_good_ones_at_their_position():
    z = np.cumsum(np.random.default_rng(2).uniform(5, 40, COUNT))
    made = transforms.from_shifts(stack_of(z=z), 0.5 * z, -0.2 * z)
    for bad in ([3, 4, -5], np.isin(np.arange(COUNT), (3, 4, COUNT - 5))):
        mended = transforms.bridge(made.copy(deep=True), bad)
        np.testing.assert_allclose(mended["shift_y"], 0.5 * z)
        np.testing.assert_array_equal(np.flatnonzero(~mended["valid"].values), [3, 4, COUNT - 5])


def test_given_shifts_mean_what_they_say():
    da, values = stack_of(), walk()
    plain = transforms.from_shifts(da, *values.T)
    np.testing.assert_allclose(plain["shift_y"], values[:, 0])
    np.testing.assert_allclose(plain["transform"][:, 0, 2], values[:, 1] / 4)
    np.testing.assert_allclose(transforms.from_shifts(da, *values.T, units="um")["shift_x"], 1000 * values[:, 1])
    steps = np.diff(values, axis=0, prepend=np.nan)
    chained = transforms.from_shifts(da, *steps.T, units="px", cumulative=False)
    np.testing.assert_allclose(shifts(chained), values - values[0], atol=1e-12)
    values[5] = np.nan
    unknown = transforms.from_shifts(da, *values.T)
    np.testing.assert_array_equal(unknown["valid"], np.arange(COUNT) != 5)
    np.testing.assert_allclose(unknown["shift_y"][5], values[[4, 6], 0].mean())
    pushed = transforms.from_matrices(da, np.linalg.inv(poses()), direction="push")
    np.testing.assert_allclose(pushed["transform"], poses(), atol=1e-12)


def test_a_table_holds_an_estimate_to_the_bit(tmp_path, stack):
    estimate = stack.stack3d.estimate_transforms(trend="linear")
    path = transforms.to_csv(estimate, tmp_path / "drift.csv")
    again = transforms.from_csv(path)
    kept = [name for name, v in estimate.data_vars.items() if "z" in v.dims]
    xr.testing.assert_identical(
        again[["shift_y", "transform", "valid"]].drop_attrs(), estimate[["shift_y", "transform", "valid"]].drop_attrs()
    )
    for name in kept:
        np.testing.assert_array_equal(again[name], estimate[name], err_msg=str(name))
    assert again.attrs == estimate.attrs
    assert again["z"].attrs == estimate["z"].attrs
    result = stack.stack3d.apply_transforms(estimate=again)
    np.testing.assert_array_equal(result, stack.stack3d.apply_transforms(estimate=estimate))
    assert transforms.from_csv(path, da=stack.isel(z=slice(2, 5))).sizes["z"] == 3


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("shift_y,shift_x\n{rows}", {}),
        ("file;dx;dy\n{named}", {}),
        ("# made elsewhere\ny x\n{blank}", {}),
        ("{rows}", {"columns": ("dy", "dx")}),
        ("m00,m01,m02,m10,m11,m12\n{matrices}", {}),
    ],
)
def test_plain_tables_of_shifts_are_read(tmp_path, text, options):
    values = np.round(walk(count=6), 3)
    rows = {
        "rows": "\n".join(f"{y},{x}" for y, x in values),
        "named": "\n".join(f"slice_{k}.tif;{x};{y}" for k, (y, x) in enumerate(values)),
        "blank": "\n".join(f"{y}   {x}" for y, x in values),
        "matrices": "\n".join(f"1,0,{x},0,1,{y}" for y, x in values),
    }
    path = tmp_path / "shifts.csv"
    path.write_text(text.format(**rows), encoding="utf-8")
    np.testing.assert_allclose(shifts(transforms.from_csv(path, da=stack_of(6), **options)), values)


def test_tables_say_what_they_lack(tmp_path):
    path = tmp_path / "shifts.csv"
    for text, options, message in (
        ("", {}, "no table"),
        ("1,2\n3,4", {"da": stack_of(2)}, "columns="),
        ("a,b\n3,4", {"da": stack_of(1)}, r"\['a', 'b'\].*shift_y"),
        ("dy,dx\n3,4\n5", {"da": stack_of(2)}, "row 2 has 1 fields"),
        ("dy,dx\n3,4", {}, "give da="),
        ("dy,dx\n3,4", {"da": stack_of(2)}, "2 values"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            transforms.from_csv(path, **options)


EDITS = {
    "detrend": lambda e: transforms.detrend(e, "savgol", window=5),
    "smooth": lambda e: transforms.smooth(e, "mean", window=3),
    "compose": lambda e: transforms.compose(e, e),
    "inverse": transforms.inverse,
    "limit": lambda e: transforms.limit(e, shift="1 px"),
    "bridge": lambda e: transforms.bridge(e, [2]),
}


@pytest.mark.parametrize("name", EDITS)
def test_edits_are_pure_recorded_and_replayed_with_the_stack(name, stack):
    drift = stack.stack3d.estimate_transforms()
    before = drift.copy(deep=True)
    edited = EDITS[name](drift)
    xr.testing.assert_identical(drift, before)
    assert [step["operation"] for step in stack3d.provenance(edited)] == ["estimate_transforms", f"transforms.{name}"]
    json.dumps(stack3d.provenance(edited))
    assert edited.attrs["kind"] == "transforms"
    result = stack.stack3d.register(estimate=edited)
    np.testing.assert_array_equal(stack3d.replay(stack, result), result)
    moved = edited["transform"].values @ CENTRE - CENTRE
    np.testing.assert_allclose(edited["shift_x"], moved[:, 0] * 5)


def test_edits_of_a_saved_estimate_are_the_same(tmp_path, stack):
    drift = transforms.detrend(stack.stack3d.estimate_transforms(), "mean", window=3)
    drift.to_netcdf(tmp_path / "drift.nc")
    with xr.open_dataset(tmp_path / "drift.nc") as opened:
        again = opened.load()
    np.testing.assert_array_equal(transforms.inverse(again)["transform"], transforms.inverse(drift)["transform"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: transforms.detrend(e, "cubic"), "trend='cubic'.*savgol"),
        (lambda e: transforms.detrend(e, window=5), "window=5.*'savgol' and 'mean'"),
        (lambda e: transforms.detrend(e, "savgol", window=3), "window=3.*degree . 1 = 4"),
        (lambda e: transforms.detrend(e, "mean", window=0), "window=0"),
        (lambda e: transforms.detrend(e, "mean", degree=2), "degree=2"),
        (lambda e: transforms.detrend(e, "mean", anchor="through"), "anchor='through'"),
        (lambda e: transforms.detrend(e, "mean", slope=1), "slope=1"),
        (lambda e: transforms.detrend(e, slope=(1, 2, 3)), r"slope=\(1, 2, 3\)"),
        (lambda e: transforms.detrend(e, of="scale"), "of='scale'"),
        (lambda e: transforms.limit(e), "nothing to limit"),
        (lambda e: transforms.limit(e, shift=-1), "shift=-1"),
        (lambda e: transforms.limit(e, rotation=1), "action='bridge'"),
        (lambda e: transforms.bridge(e, [99]), r"bad=\[99\].*0 to 39"),
        (lambda e: transforms.bridge(e, np.ones(COUNT, bool)), "no good slice"),
        (lambda e: transforms.inverse(xr.Dataset()), "kind None"),
        (lambda e: transforms.from_shifts(stack_of()), "shift_y, shift_x or both"),
        (lambda e: transforms.from_shifts(stack_of(), [1, 2]), "shift_y has shape"),
        (lambda e: transforms.from_matrices(stack_of(), np.ones((COUNT, 3, 3))), "last row"),
        (lambda e: transforms.from_matrices(stack_of(), poses(), direction="left"), "direction='left'"),
    ],
)
def test_edits_say_what_is_wrong(call, message):
    made = transforms.from_matrices(stack_of(), poses())
    with pytest.raises(ValueError, match=message):
        call(made)


def test_plot_shows_shifts_bad_slices_and_rotation():
    made = transforms.bridge(transforms.from_matrices(stack_of(), poses()), [4])
    ax = stack3d.plotting.transforms(made, other=transforms.detrend(made))
    np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), made["shift_y"])
    assert ax.get_ylabel() == "shift / nm"
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {"shift along y", "shift along x", "bad slice"}
    assert len(ax.figure.axes) == 2


def test_jumps_alone_leave_steps_below_the_limit_in_the_images():
    creep, jump = np.linspace(0, 9, COUNT), np.where(np.arange(COUNT) >= 20, 7.0, 0.0)
    made = transforms.from_shifts(stack_of(), shift_y=0.5 * creep, shift_x=creep + jump, units="px")
    got = shifts(transforms.jumps(made, "1 px"))
    np.testing.assert_allclose(got[:, 0], 0, atol=1e-9)
    np.testing.assert_allclose(got[:, 1], np.where(np.arange(COUNT) >= 20, 7 + 9 / (COUNT - 1), 0), atol=1e-9)
    # In the unit of the coordinates, one for each axis: 5 nm along y, 4 nm along x.
    np.testing.assert_allclose(shifts(transforms.jumps(made, (0.5, 40))), [[a, 0] for a in 0.5 * creep], atol=1e-9)


def test_jumps_bridge_slices_that_are_not_good():
    moved = np.where(np.arange(COUNT) >= 20, 7.0, 0.0)
    moved[19] = np.nan
    made = transforms.from_shifts(stack_of(), shift_x=moved, units="px")
    got = shifts(transforms.jumps(made))[:, 1]
    np.testing.assert_allclose(np.delete(got, 19), np.delete(moved, 19), atol=1e-9)


def test_register_takes_a_known_line_and_a_least_step():
    da = stack3d.synthetic.make_stack((6, 96, 96), defects={"drift": {"step": 0.3}}).stack
    measured = da.stack3d.estimate_transforms()
    for given, edited in (
        (
            {"trend": "linear", "trend_slope": ("1 px", "-0.5 px")},
            transforms.detrend(measured, slope=("1 px", "-0.5 px")),
        ),
        ({"least_step": "0.2 px"}, transforms.jumps(measured, "0.2 px")),
    ):
        got = da.stack3d.estimate_transforms(**given)
        np.testing.assert_allclose(got["transform"], edited["transform"], atol=1e-12)
    with pytest.raises(ValueError, match=r"trend_slope=.*trend='linear'"):
        da.stack3d.register(trend_slope="1 px")
    with pytest.raises(ValueError, match="least_step='1 second'"):
        da.stack3d.register(least_step="1 second")
