"""Options: validated as a whole, for the session or for a block."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from stack3d.options import get_option, set_options, worker_count

DEFAULTS = {"device": "cpu", "workers": None, "progress": False}  # progress as the tests have it


def current() -> dict[str, Any]:
    return {name: get_option(name) for name in DEFAULTS}


def test_options_hold_for_the_session() -> None:
    set_options(device="auto", workers=3)
    assert current() == {"device": "auto", "workers": 3, "progress": False}


def test_options_of_one_test_do_not_reach_the_next() -> None:
    assert current() == DEFAULTS


def test_a_block_restores_what_it_changed_and_nothing_else() -> None:
    with set_options(progress=True):
        assert current() == {**DEFAULTS, "progress": True}
        set_options(workers=2)
    assert current() == {**DEFAULTS, "workers": 2}


def test_blocks_nest() -> None:
    with set_options(workers=2):
        with set_options(workers=3, device="auto"):
            assert (get_option("workers"), get_option("device")) == (3, "auto")
        assert (get_option("workers"), get_option("device")) == (2, "cpu")
    assert current() == DEFAULTS


def test_an_error_in_a_block_restores_too() -> None:
    with pytest.raises(ZeroDivisionError), set_options(workers=2):
        raise ZeroDivisionError
    assert current() == DEFAULTS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("device", value) for value in ("GPU", "cuda", None, 0, True, ["gpu"], np.array(["cpu", "gpu"]))],
        *[("workers", value) for value in (0, -1, 2.0, "2", True, np.array([1, 2]))],
        *[("progress", value) for value in (1, 0, "yes", None, np.array([True, False]), "AUTO")],
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_what_is(name: str, value: Any) -> None:
    allowed = {"device": "'cpu', 'gpu' or 'auto'", "workers": "a positive whole number", "progress": "True, False or"}
    with pytest.raises(ValueError, match=rf"^{name}=.* is not allowed; it must be {allowed[name]}") as caught:
        set_options(**{name: value})
    assert repr(value) in str(caught.value)
    assert current() == DEFAULTS


def test_an_unknown_option_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="unknown option 'threads'; allowed are 'device', 'workers', 'progress'"):
        set_options(threads=2)


def test_one_bad_option_leaves_the_others_as_they_were() -> None:
    with pytest.raises(ValueError, match="workers"):
        set_options(device="auto", workers=0)
    with pytest.raises(ValueError, match="threads"):
        set_options(device="auto", threads=0)
    assert current() == DEFAULTS


@pytest.mark.parametrize("count", [1, 7, np.int64(7)])
def test_workers_are_as_many_as_asked_for(count: Any) -> None:
    with set_options(workers=count):
        assert worker_count() == count
        assert type(worker_count()) is int


def test_workers_are_one_a_core_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert worker_count() == 3


def test_workers_are_counted_where_affinity_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert worker_count() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert worker_count() == 1
