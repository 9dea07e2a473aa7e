"""Reports: one page of HTML about a stack and the run that made it."""

from stack3d.reporting._report import report as report


class ReportWarning(UserWarning):
    """The result is there, but its report could not be written, or lacks a figure."""


__all__ = ["ReportWarning", "report"]
