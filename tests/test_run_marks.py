"""Marks of written blocks: appended by any process, believed only when whole."""

from __future__ import annotations

import errno
import multiprocessing
import os

import pytest

from stack3d.runs import _marks


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "a.zarr.blocks"
    _marks.begin(made, "what it holds")
    return made


def _add(folder, first):
    for k in range(first, first + 50):
        _marks.add(folder, _marks.mark_of("image", (k, 0, 0), (1, 8, 8)))


def test_marks_of_several_processes_are_all_found_in_a_file_for_each(folder):
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_add, args=(folder, first)) for first in (50, 100)]
    for process in others:
        process.start()
    _add(folder, 0)
    for process in others:
        process.join()
    assert _marks.found(folder) == {_marks.mark_of("image", (k, 0, 0), (1, 8, 8)) for k in range(150)}
    assert len(list(folder.glob("*.written"))) == 3


def test_a_line_that_was_cut_short_is_no_mark_and_spoils_only_the_next(folder, monkeypatch):
    marks = [_marks.mark_of("image", (k, 0, 0), (1, 512, 512)) for k in range(4)]
    _marks.add(folder, marks[0])
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, line: write(file, line[: len(line) - 2]))
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        _marks.add(folder, marks[1])
    monkeypatch.undo()
    assert _marks.found(folder) == {marks[0]}
    _marks.add(folder, marks[2])
    _marks.add(folder, marks[3])
    assert _marks.found(folder) & set(marks) == {marks[0], marks[3]}


def test_only_marks_that_are_kept_stay_and_files_of_former_versions_are_marks(folder):
    old, new = _marks.mark_of("image", (0, 0, 0), (1, 8, 8)), _marks.mark_of("mask", (3, 0, 0), (1, 8, 8))
    (folder / old).touch()
    _marks.add(folder, new)
    assert _marks.found(folder) == {old, new}
    _marks.keep(folder, {old})
    assert _marks.found(folder) == {old}
    assert _marks.is_of(folder, "what it holds")
    _marks.add(folder, new)
    assert _marks.found(folder) == {old, new}


def test_a_folder_that_is_gone_has_no_marks_and_is_of_no_store(tmp_path):
    assert _marks.found(tmp_path / "none") == set()
    assert not _marks.is_of(tmp_path / "none", "")
