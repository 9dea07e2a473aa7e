"""Stacks with known defects, and the exact truth of each.

The specimen is a function of continuous z, y and x: drift, rotation and uneven slices are evaluated where they fall,
never interpolated. Nothing here uses the kernels or the operations that the stacks are meant to test.
"""

from stack3d.synthetic._real import add_defects
from stack3d.synthetic._stack import SyntheticStack, make_stack

__all__ = ["SyntheticStack", "add_defects", "make_stack"]
