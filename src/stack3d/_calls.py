"""The arguments of a call, or what is wrong with them in words that name the function and what it takes."""

from __future__ import annotations

import inspect
from typing import Any

from stack3d._words import like


def bound(name: str, signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the bound arguments of a call of ``name(da, *, ...)``, or raise TypeError."""
    try:
        return signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(_why(name, signature, args, kwargs) or f"{name}: {error}") from None


def _why(name: str, signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    first, *others = signature.parameters.values()
    names = [parameter.name for parameter in others]
    takes = f"it takes {', '.join(names)}" if names else "it takes none"
    for key in kwargs:
        if key not in signature.parameters:
            return f"{name}: there is no parameter {key!r}{like(key, names) or f'; {takes}'}"
    keywords = [parameter.name for parameter in others if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
    if len(args) > len(signature.parameters) - len(keywords):
        extra = args[len(signature.parameters) - len(keywords)]
        shown = f" such as {keywords[0]}={extra!r}" if isinstance(extra, str | int | float) and keywords else ""
        return f"{name}: parameters are given by name{shown}; {takes}"
    if not args and first.name not in kwargs:
        return f"{name}: the stack {first.name!r} is needed"
    missing = [p.name for p in others if p.default is p.empty and p.name not in kwargs]
    return f"{name}: the parameter {missing[0]!r} is needed" if missing and len(args) <= 1 else ""
