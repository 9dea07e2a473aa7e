"""Assertions and hypothesis strategies for tests of code that works on stacks: yours, and ours.

`stack3d` itself does not import it: write ``from stack3d.testing import assert_contract``. The strategies are in
`stack3d.testing.strategies`, which needs `hypothesis`.
"""

from stack3d.testing._assertions import assert_stack_equal, assert_valid_stack
from stack3d.testing._contract import assert_chunk_invariant, assert_contract, assert_input_unchanged, assert_lazy

__all__ = [
    "assert_chunk_invariant",
    "assert_contract",
    "assert_input_unchanged",
    "assert_lazy",
    "assert_stack_equal",
    "assert_valid_stack",
]
