"""Where arithmetic runs, with a cupy made up here: no card is needed."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import dask.array
import numpy as np
import pytest

from stack3d import device
from stack3d.options import set_options


class FakeCupyArray(np.ndarray[Any, Any]):
    """An array that says it is cupy's."""

    def get(self) -> np.ndarray[Any, Any]:
        return np.array(self)


FakeCupyArray.__module__ = "cupy._core.core"


class CUDARuntimeError(RuntimeError):
    pass


def fake_cupy(count: int = 1, error: str | None = None) -> ModuleType:
    def device_count() -> int:
        if error is not None:
            raise CUDARuntimeError(error)
        return count

    module = ModuleType("cupy")
    module.cuda = SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=device_count))  # type: ignore[attr-defined]
    module.asarray = lambda array: np.array(array).view(FakeCupyArray)  # type: ignore[attr-defined]
    module.empty = lambda shape, dtype: np.empty(shape, dtype).view(FakeCupyArray)  # type: ignore[attr-defined]
    return module


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = fake_cupy()
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


@pytest.fixture
def no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuse:
        def find_spec(self, name: str, *_: Any) -> None:
            if name.partition(".")[0] == "cupy":
                raise ModuleNotFoundError("No module named 'cupy'", name="cupy")

    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Refuse(), *sys.meta_path])


def test_cpu_needs_no_cupy(no_cupy: None) -> None:
    assert device.resolve("cpu") == "cpu"
    assert device.resolve("auto") == "cpu"


def test_cpu_is_the_default() -> None:
    assert device.resolve() == "cpu"
    assert device.resolve(None) == "cpu"


def test_none_means_the_option(card: ModuleType) -> None:
    with set_options(device="gpu"):
        assert device.resolve(None) == "gpu"
        assert device.resolve("cpu") == "cpu"
    with set_options(device="auto"):
        assert device.resolve() == "gpu"
    assert device.resolve() == "cpu"


def test_card_is_used_when_asked_for(card: ModuleType) -> None:
    assert device.resolve("gpu") == "gpu"
    assert device.resolve("auto") == "gpu"
    assert device.resolve("cpu") == "cpu"


@pytest.mark.parametrize("value", ["GPU", "cuda", "", 0, True, ["gpu"], np.array(["gpu", "cpu"])])
def test_unknown_device_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"device=.* is not allowed; it must be 'cpu', 'gpu' or 'auto'"):
        device.resolve(value)


def test_gpu_without_cupy_names_the_extra(no_cupy: None) -> None:
    with pytest.raises(RuntimeError, match=r"cupy is not installed \(pip install 'stack3d\[gpu\]'\); use device='cpu'"):
        device.resolve("gpu")


def test_gpu_without_cupy_by_the_option_is_refused_when_it_is_set(no_cupy: None) -> None:
    with pytest.raises(RuntimeError, match="cupy is not installed"):
        set_options(device="gpu")
    assert device.resolve() == "cpu"


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (fake_cupy(error="cudaErrorInsufficientDriver: CUDA driver version is insufficient"), "driver.*insufficient"),
        (fake_cupy(error="cudaErrorNoDevice: no CUDA-capable device is detected"), "no driver or card.*NoDevice"),
        (fake_cupy(count=0), "finds no card"),
    ],
)
def test_gpu_without_driver_or_card_says_so(module: ModuleType, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", module)
    with pytest.raises(RuntimeError, match=rf"device='gpu' cannot be used: cupy .*{message}"):
        device.resolve("gpu")
    assert device.resolve("auto") == "cpu"


@pytest.mark.parametrize(
    "error",
    [
        ImportError("libcudart.so.12: cannot open shared object file"),
        ModuleNotFoundError("No module named 'fastrlock'", name="fastrlock"),
        OSError("libcudart.so.12 is not a library"),
    ],
)
def test_broken_cupy_is_told_from_a_missing_one(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "cupy":
                raise error

    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(RuntimeError, match="cupy cannot be imported") as caught:
        device.resolve("gpu")
    assert str(error) in str(caught.value)
    assert device.resolve("auto") == "cpu"


def test_arrays_of_cupy_are_told_without_importing_it(no_cupy: None) -> None:
    array = np.zeros((4, 3)).view(FakeCupyArray)
    assert device.is_cupy(array)
    assert not device.is_cupy(np.zeros(3))
    assert not device.is_cupy([1, 2])
    assert "cupy" not in sys.modules


def test_lazy_arrays_of_cupy_are_told_by_their_blocks() -> None:
    plain = dask.array.zeros((4, 3), chunks=2)
    lazy = plain.map_blocks(np.asanyarray, meta=np.empty((0, 0)).view(FakeCupyArray))
    assert device.is_cupy(lazy)
    assert not device.is_cupy(plain)


def test_arrays_go_to_the_card_and_come_back(card: ModuleType) -> None:
    array = np.arange(6, dtype=np.uint16).reshape(2, 3)
    there = device.to_device(array, "gpu")
    assert device.is_cupy(there)
    assert device.to_device(there, "gpu") is there
    for back in (device.to_host(there), device.to_device(there, "cpu")):
        assert type(back) is np.ndarray
        assert back.dtype == np.uint16
        np.testing.assert_array_equal(back, array)


def test_arrays_on_the_host_stay_what_they_are(card: ModuleType) -> None:
    array = np.arange(6)
    lazy = dask.array.arange(6, chunks=2)
    assert device.to_host(array) is array
    assert device.to_device(array, "cpu") is array
    assert device.to_host(lazy) is lazy


def test_lazy_arrays_move_block_by_block(card: ModuleType) -> None:
    asked = []
    original = card.asarray
    card.asarray = lambda array: asked.append(array.shape) or original(array)  # type: ignore[attr-defined]
    lazy = dask.array.arange(6, chunks=2).reshape(6, 1)
    there = device.to_device(lazy, "gpu")
    assert asked == []
    assert device.is_cupy(there)
    assert there.chunks == lazy.chunks
    assert there.dtype == lazy.dtype
    back = device.to_host(there)
    assert not device.is_cupy(back)
    result = back.compute(scheduler="synchronous")
    assert type(result) is np.ndarray
    np.testing.assert_array_equal(result[:, 0], np.arange(6))
    assert asked == [(2, 1)] * 3


def test_module_imports_neither_cupy_nor_dask() -> None:
    code = (
        "import sys, stack3d.device as d; d.is_cupy(3); d.resolve('cpu');"
        "print([name in sys.modules for name in ('cupy', 'dask.array')])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[False, False]"
