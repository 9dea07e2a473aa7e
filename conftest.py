"""What every test finds: doctest names, silent progress, figures closed after use, reproducible hypothesis."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, settings

# Before anything imports pyplot: tests run without a display.
os.environ["MPLBACKEND"] = "Agg"

# No deadline: the first example of a test may compile a kernel. `ci` draws the same examples every time.
settings.register_profile("dev", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("dev"), derandomize=True, database=None, print_blob=True)
settings.register_profile("thorough", parent=settings.get_profile("dev"), max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


def small_stack() -> xr.DataArray:
    """Return a (z, y, x) uint16 stack of 8 x 48 x 64 voxels of 20 x 5 x 5 nm: smooth structure with some grain."""
    import stack3d

    rng = np.random.default_rng(20)
    shape = (8, 48, 64)
    squared_frequency = sum(f**2 for f in np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij"))
    smooth = np.fft.ifftn(np.fft.fftn(rng.standard_normal(shape)) * np.exp(-120.0 * squared_frequency)).real
    values = 20000.0 + 2500.0 * smooth / smooth.std() + rng.normal(0.0, 100.0, shape)
    data = np.rint(values).clip(0, 65535).astype(np.uint16)
    return stack3d.from_array(data, pixel_size=(20.0, 5.0, 5.0))


@pytest.fixture
def stack() -> xr.DataArray:
    """Return the small stack of the doctests."""
    return small_stack()


@pytest.fixture
def install_card(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """Return what puts a cupy made up here in the place of the real one, with so many free bytes (tests/strict_cupy.py)."""

    def install(free: int = 1 << 30) -> ModuleType:
        path = Path(__file__).parent / "tests" / "strict_cupy.py"
        spec = importlib.util.spec_from_file_location("stack3d_tests_cupy", path)
        assert spec is not None
        assert spec.loader is not None
        made_up = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made_up)
        cupy: ModuleType = made_up.module(free)
        for name, module in {"cupy": cupy, **made_up.parts()}.items():
            monkeypatch.setitem(sys.modules, name, module)
        return cupy

    return install


@pytest.fixture(autouse=True)
def _fresh_options() -> Iterator[None]:
    # Each test starts from the same options and leaves none behind. Runs write a report where a test asks for one.
    from stack3d.options import set_options

    with set_options(device="cpu", workers=None, progress=False, report=False):
        yield


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(autouse=True)
def _doctest_surroundings(request: pytest.FixtureRequest) -> None:
    # A doctest finds `np`, `xr`, `stack3d` and a small `stack`, and stands in an empty folder where it may write.
    if not isinstance(request.node, pytest.DoctestItem):
        return
    import stack3d

    names = request.getfixturevalue("doctest_namespace")
    names.update(np=np, xr=xr, stack3d=stack3d, stack=small_stack())
    request.getfixturevalue("monkeypatch").chdir(request.getfixturevalue("tmp_path"))
