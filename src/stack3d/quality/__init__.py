"""Measures: what a stack is like, and whether a correction helped."""

from stack3d.quality._slice_statistics import slice_statistics as slice_statistics

__all__ = ["slice_statistics"]
