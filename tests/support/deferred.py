"""Imports of test files that wait until they are needed: collecting the tests imports no torch and no pandas.

A test file names what is slow to import under `if TYPE_CHECKING:` at its top level. Type checkers follow those imports,
and `complete_imports` makes them when the first test of the file is about to run.
"""

import ast
import inspect
from types import ModuleType

_complete: set[ModuleType] = set()


def complete_imports(module: ModuleType) -> None:
    """Run the statements under `if TYPE_CHECKING:` at the top level of a module in its own namespace, once."""
    if module in _complete:
        return
    _complete.add(module)
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            exec(compile(ast.Module(node.body, []), str(module.__file__), "exec"), vars(module))
