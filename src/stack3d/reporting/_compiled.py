"""Compiled templates, kept where Python keeps compiled modules: compiling takes a tenth of the time of a small report."""

from __future__ import annotations

import contextlib
import os
import sys
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

import jinja2


class Compiled(jinja2.BytecodeCache):
    """Beside each template, in ``__pycache__``, as far as that can be written; it knows the source that it is of."""

    def load_bytecode(self, bucket: Any) -> None:
        """Read what was kept of a template."""
        with contextlib.suppress(OSError), _place(bucket.key).open("rb") as file:
            bucket.load_bytecode(file)

    def dump_bytecode(self, bucket: Any) -> None:
        """Keep a template that was just compiled."""
        if sys.dont_write_bytecode:
            return
        place = _place(bucket.key)
        beside = place.with_name(f"{place.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            place.parent.mkdir(exist_ok=True)
            beside.write_bytes(bucket.bytecode_to_string())
            os.replace(beside, place)


def _place(key: str) -> Path:
    return Path(cache_from_source(str(Path(__file__).with_name("templates") / f"{key}.html")))
