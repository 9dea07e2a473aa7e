"""Reports: one page of HTML about a stack and the run that made it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stack3d.reporting._report import report as report


class ReportWarning(UserWarning):
    """The result is there, but its report could not be written."""


__all__ = ["ReportWarning", "report"]


def __getattr__(name: str) -> Any:
    if name == "report":
        from stack3d.reporting._report import report

        return report
    raise AttributeError(f"module 'stack3d.reporting' has no attribute {name!r}")
