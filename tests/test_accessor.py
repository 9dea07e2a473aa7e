"""The accessor binds, holds nothing, and keeps nothing alive."""

from __future__ import annotations

import gc
import inspect
import pickle
import pydoc
import re
import tracemalloc

import numpy as np
import pytest
import xarray as xr

import stack3d
from stack3d._accessor import Stack3D

METHODS = sorted(
    name
    for name in vars(Stack3D)
    if not name.startswith("_") and not isinstance(inspect.getattr_static(Stack3D, name), property)
)


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_the_functions_with_signature_and_docstring(stack, name):
    function, method = getattr(stack3d, name), getattr(stack.stack3d, name)
    parameters = list(inspect.signature(function).parameters.values())
    assert list(inspect.signature(method).parameters.values()) == parameters[1:]
    assert method.__doc__ == function.__doc__
    assert method.__name__ == name
    assert getattr(Stack3D, name) is function


@pytest.mark.parametrize("name", METHODS)
def test_all_parameters_but_the_stack_are_keywords_or_a_path(name):
    parameters = list(inspect.signature(getattr(stack3d, name)).parameters.values())[1:]
    positional = [p.name for p in parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert positional in ([], ["path"])


def test_the_accessor_is_made_anew_and_not_kept(stack):
    assert stack.stack3d is not stack.stack3d
    assert stack3d.accessor(stack).pixel_size == stack.stack3d.pixel_size
    with pytest.raises(AttributeError):
        stack.stack3d.state = 1


def test_twenty_eager_steps_peak_below_three_arrays():
    da = xr.DataArray(np.zeros((4, 1024, 1024), np.uint16), dims=("z", "y", "x"))
    da.stack3d.invert()  # compiles
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        out = da
        for _ in range(20):
            out = out.stack3d.invert()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.enable()
    assert peak < 3 * da.nbytes


def test_a_stack_whose_accessor_was_touched_pickles(stack):
    _ = stack.stack3d.pixel_size
    again = pickle.loads(pickle.dumps(stack.chunk(z=2)))
    xr.testing.assert_identical(again.compute(), stack)


def test_dir_shows_every_method(stack):
    assert set(METHODS) <= set(dir(stack.stack3d))


def test_a_method_shows_itself_in_one_line_with_its_help(stack):
    method = stack.rename("image").stack3d.crop
    assert repr(method) == "<stack3d crop of 'image' (z: 8, y: 48, x: 64)>"
    text = pydoc.plain(pydoc.render_doc(method))
    assert stack3d.crop.__doc__.splitlines()[0] in text
    assert re.search(r"\bcrop\(\s*\*,", text)
    assert "DataArray (" not in text.splitlines()[0]
    again = pickle.loads(pickle.dumps(method))
    xr.testing.assert_identical(again(y=slice(0, 20)), method(y=slice(0, 20)))


def test_the_repr_of_what_is_no_stack_says_why_in_one_line():
    da = xr.DataArray(np.zeros((2, 3)), dims=("a", "b"))
    assert re.fullmatch(r"<stack3d: not a stack: .*'a'.*>", repr(da.stack3d))
    assert "not a stack" in da.stack3d._repr_html_()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda s: s.astype("uint8"), r"^astype: parameters are given by name such as dtype='uint8'; it takes dtype"),
        (lambda s: s.astype(), r"^astype: the parameter 'dtype' is needed$"),
        (
            lambda s: s.remove_background(sigma=3),
            r"^remove_background: there is no parameter 'sigma'; it takes .*degree",
        ),
        (lambda s: s.remove_background(degre=3), r"'degre'; did you mean 'degree'\?$"),
        (lambda s: s.estimate_levels(3), r"^estimate_levels: parameters are given by name"),
        (lambda s: stack3d.invert(), r"^invert: the stack 'da' is needed$"),
    ],
)
def test_a_wrong_call_names_the_function_and_what_it_takes(stack, call, said):
    with pytest.raises(TypeError, match=said):
        call(stack.stack3d)
