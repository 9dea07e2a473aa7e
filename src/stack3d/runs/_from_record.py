"""A step of a recipe from the record that it left."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from stack3d._provenance import OPERATIONS
from stack3d._records import decode_value
from stack3d.runs._step import Step
from stack3d.runs._values import normalised


def from_record(number: int, record: Mapping[str, Any]) -> Step:
    """Return the step that record `number` (from 1) tells of."""
    name, known = record["operation"], OPERATIONS.get(record["operation"])
    defaults = (
        {} if known is None else {p.name: p.default for p in inspect.signature(known.function).parameters.values()}
    )
    travelling = record.get("estimate", {}).get("data")
    parameters: dict[str, Any] = {}
    for key, value in record["parameters"].items():
        if travelling is not None and isinstance(value, dict) and "stack" in value:
            continue  # it only served to make the estimate, which is in the record
        if key in record["context"].get("filled", ()):
            continue
        try:
            decoded = decode_value(value)
        except ValueError:
            raise ValueError(
                f"step {number} ({name}): {key} was another stack, which its record does not hold"
            ) from None
        if key not in defaults or normalised(decoded) != normalised(defaults[key]):
            parameters[key] = decoded
    if travelling is not None:
        from stack3d import estimates

        parameters["estimate"] = estimates.decode(travelling)
    return Step(name, parameters)
