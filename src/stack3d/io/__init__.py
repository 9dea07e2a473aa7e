"""Opening and saving stacks."""

from __future__ import annotations

from stack3d.io._frames import BadFrameWarning as BadFrameWarning
from stack3d.io.checkpoint import checkpoint as checkpoint
from stack3d.io.open import open_stack as open_stack
from stack3d.io.save import save as save
