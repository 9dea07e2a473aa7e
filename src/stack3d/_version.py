"""The version of stack3d."""

__version__ = "0.1.0"
