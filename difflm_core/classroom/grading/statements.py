"""What a top-level statement of a notebook binds, changes and uses, and which statements a name needs.

A lesson trains for minutes, an exercise usually needs its imports only. So the grader runs, of the course's own cells,
the statements that the check and the answer need: a slice backwards along the names. A statement changes an object
when it assigns to a part of it, calls a method of it for its own sake (`model.eval()`), or hands it to a function with
"train" in its name. What a lesson changes in another way before an exercise, the slice does not see.
"""

import ast
import symtable
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from IPython.core.inputtransformer2 import TransformerManager

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
PARTIAL = (ast.AugAssign, ast.If, ast.For, ast.While, ast.Try, ast.Match)  # a name may keep its old value
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@dataclass(frozen=True)
class Statement:
    """Statement `index` of code cell `cell`; `text` is its code in one normal form, so that equal code is equal."""

    cell: int
    index: int
    text: str
    bound: frozenset[str]
    changed: frozenset[str]
    used: frozenset[str]
    defines: bool  # a function, a class or an import, in contrast to a value

    @property
    def replaces(self) -> bool:
        """Whether what its names stood for before no longer matters."""
        return not isinstance(ast.parse(self.text).body[0], PARTIAL)


def plain_python(source: str) -> str:
    """A cell's code without IPython's own syntax. A first line like `%%time` goes; its cell stays, at its lines."""
    lines = source.split("\n")
    for number, line in enumerate(lines):
        if line.strip() and not line.startswith("%%"):
            break
        lines[number] = "#"  # IPython would drop an empty first line, and the lines would be counted wrongly
    return TransformerManager().transform_cell("\n".join(lines))


def statements(source: str, cell: int = 0) -> list[Statement]:
    """The top-level statements of plain Python. Raises SyntaxError (or ValueError for a null character)."""
    return [read(node, cell, index) for index, node in enumerate(ast.parse(source).body)]


def read(node: ast.stmt, cell: int, index: int) -> Statement:
    text = ast.unparse(node)
    top = symtable.symtable(text, "<cell>", "exec")
    bound = frozenset(s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported())
    return Statement(
        cell, index, text, bound, frozenset(changed(node)), frozenset(used(top)), isinstance(node, DEFINITIONS)
    )


def used(table: symtable.SymbolTable, inside: bool = False) -> set[str]:
    """The global names that the code reads, those in the bodies of its functions included."""
    names = {s.get_name() for s in table.get_symbols() if s.is_referenced() and (s.is_global() or not inside)}
    return names.union(*(used(child, inside=True) for child in table.get_children()))


def changed(node: ast.AST) -> Iterator[str]:
    """The names whose objects the statement changes; see the top of this file for what counts."""
    for part in outside_functions(node):
        if isinstance(part, (ast.Subscript, ast.Attribute)) and isinstance(part.ctx, (ast.Store, ast.Del)):
            yield from base(part)
        elif isinstance(part, ast.Expr):
            calls = part.value.elts if isinstance(part.value, ast.Tuple) else [part.value]
            for call in calls:
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                    yield from base(call.func)
        if isinstance(part, ast.Call) and "train" in ast.unparse(part.func).rsplit(".", 1)[-1]:
            yield from (argument.id for argument in part.args if isinstance(argument, ast.Name))


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """The node and all below it that run with it: bodies of functions and classes do not."""
    yield node
    if not isinstance(node, FUNCTIONS):
        for child in ast.iter_child_nodes(node):
            yield from outside_functions(child)


def base(node: ast.AST) -> Iterator[str]:
    """`a` of `a.b[c].d`."""
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id


def needed(program: Sequence[Statement], names: Iterable[str]) -> list[Statement]:
    """The statements of the program, in its order, on which the values of these names at its end depend."""
    bodies: dict[str, set[str]] = {}  # what a function reads when it is called
    for statement in program:
        if statement.defines:
            for name in statement.bound:
                bodies.setdefault(name, set()).update(statement.used)

    def with_bodies(start: Iterable[str]) -> set[str]:
        found, open_names = set(), list(start)
        while open_names:
            if (name := open_names.pop()) not in found:
                found.add(name)
                open_names += bodies.get(name, ())
        return found

    wanted, kept = with_bodies(names), []
    for statement in reversed(program):
        if (statement.bound | statement.changed) & wanted:
            kept.append(statement)
            if statement.replaces:
                wanted -= statement.bound
            wanted |= with_bodies(statement.used)
    return kept[::-1]
