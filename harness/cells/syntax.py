"""Definitions as text that can change a result: syntax trees without the parts only people read.

Comments, docstrings, annotations, error messages and descriptions of config fields are left out.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

PROSE_KEYWORDS = frozenset({"description", "hint", "help"})
"""Keyword arguments that hold words for people, in any call."""

REGISTRATION = "register"
"""Name of the decorators that add a class to a registry.

Their ``family`` groups lists and boards, and changes no result.
"""

ERROR_LIKE = ("Error", "Warning", "Exception", "Fault", "Problem")
"""Endings of the names of classes that report problems; their arguments are messages."""

DESCRIPTIVE = frozenset({"words", "faults", "absent", "typical_training_s", "__repr__"})
"""Members of learners and attacks that describe, check or estimate; no cell calls them."""

Statement = ast.stmt
IsConfig = Callable[[ast.ClassDef], bool]


def essence(statement: Statement, is_config: IsConfig) -> Statement:
    """Strip a statement, in place, of everything that cannot change a result.

    Args:
        statement: a definition, or another statement at the top level of a module.
        is_config: whether a class is a config model, whose annotations decide what it accepts.
    """
    return _Essence(is_config).visit(statement)


def dump(node: ast.AST) -> str:
    """A tree as text, without imports: they name files, and what they import is hashed itself."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return "Pass()"
    parts = []
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, ast.AST):
            text = dump(value)
        elif isinstance(value, list):
            items = [dump(each) if isinstance(each, ast.AST) else repr(each) for each in value]
            text = f"[{', '.join(items)}]"
        elif name in ("ctx", "type_comment", "type_params"):
            continue
        else:
            text = repr(value)
        parts.append(f"{name}={text}")
    return f"{type(node).__name__}({', '.join(parts)})"


class _Essence(ast.NodeTransformer):
    def __init__(self, is_config: IsConfig) -> None:
        self.is_config = is_config
        self.in_config = False

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        before, self.in_config = self.in_config, False
        node.returns = None
        node.type_comment = None
        arguments = node.args
        for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
            argument.annotation = None
        for starred in (arguments.vararg, arguments.kwarg):
            if starred is not None:
                starred.annotation = None
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        self.in_config = before
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        before, self.in_config = self.in_config, self.is_config(node)
        node.body = [each for each in node.body if bound_name(each) not in DESCRIPTIVE]
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        self.in_config = before
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return None  # a docstring, of a definition or of an attribute
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if self.in_config:
            return self.generic_visit(node)
        if node.value is not None:
            bare = ast.Assign([node.target], node.value)
            return self.generic_visit(bare)
        # Without a value it declares a field, e.g. of a dataclass: only its name counts.
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        node.cause = None
        if isinstance(node.exc, ast.Call):
            node.exc.args, node.exc.keywords = [], []
        return self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        node.msg = None
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        if _is_type_checking(node.test):
            return [each for part in node.orelse if (each := self.visit(part)) is not None]
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = called_name(node.func)
        if name == "cast" and len(node.args) == 2:
            return self.visit(node.args[1])
        if name.endswith(ERROR_LIKE):
            node.args, node.keywords = [], []
        prose = PROSE_KEYWORDS | {"family"} if name == REGISTRATION else PROSE_KEYWORDS
        node.keywords = [each for each in node.keywords if each.arg not in prose]
        return self.generic_visit(node)


def called_name(function: ast.expr) -> str:
    """The last name of what is called: ``"b"`` of ``a.b``."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def bound_name(statement: Statement) -> str:
    """The one name that a statement binds; empty where it binds none or several."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return statement.name
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    if isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    if len(targets) == 1 and isinstance(targets[0], ast.Name):
        return targets[0].id
    return ""


def _is_type_checking(test: ast.expr) -> bool:
    return called_name(test) == "TYPE_CHECKING"


# ------------------------------------------------------------------------------ names that are read


@dataclass(frozen=True)
class Import:
    """What a name stands for that was imported: a module, or an attribute of one."""

    module: str
    attribute: str | None = None


@dataclass(frozen=True)
class Reference:
    """A name that is read and not bound where it is read.

    Attributes:
        name: the name.
        attributes: that are looked up on it, e.g. ``("norms",)`` of ``geometry.norms``.
        imported: what it stands for, where it is imported inside the function that reads it.
    """

    name: str
    attributes: tuple[str, ...] = ()
    imported: Import | None = None


def references(statement: Statement, package: str) -> Iterator[Reference]:
    """Every free name of a statement, in the order of reading.

    Args:
        package: that relative imports inside of it start from.
    """
    reader = _Reader(package)
    reader.visit(statement)
    yield from reader.found


@dataclass
class _Scope:
    bound: set[str] = field(default_factory=set)
    imported: dict[str, Import] = field(default_factory=dict)
    of_class: bool = False


class _Reader(ast.NodeVisitor):
    def __init__(self, package: str) -> None:
        self.package = package
        self.scopes: list[_Scope] = []
        self.found: list[Reference] = []

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._read(node.id, ())

    def visit_Attribute(self, node: ast.Attribute) -> None:
        attributes: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            attributes.insert(0, inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            self._read(inner.id, tuple(attributes))
        elif isinstance(inner, ast.Call) and called_name(inner.func) == "super":
            self.found.append(Reference("super", tuple(attributes)))
        else:
            self.visit(inner)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._defaults(node.args)
        self.scopes.append(_Scope({each.arg for each in _arguments(node.args)}))
        self.visit(node.body)
        self.scopes.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for outer in [*node.decorator_list, *node.bases, *node.keywords]:
            self.visit(outer)
        self._body(node.body, set(), of_class=True)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension(node, [node.elt])

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._comprehension(node, [node.elt])

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node, [node.elt])

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node, [node.key, node.value])

    def visit_Import(self, node: ast.Import) -> None:
        """Bound by the scope that it is in; reads nothing."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Bound by the scope that it is in; reads nothing."""

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for decorator in node.decorator_list:
            self.visit(decorator)
        self._defaults(node.args)
        self._body(node.body, {each.arg for each in _arguments(node.args)})

    def _defaults(self, arguments: ast.arguments) -> None:
        for default in [*arguments.defaults, *filter(None, arguments.kw_defaults)]:
            self.visit(default)

    def _body(self, body: list[ast.stmt], bound: set[str], *, of_class: bool = False) -> None:
        binder = Binder(self.package)
        for statement in body:
            binder.visit(statement)
        inside = (binder.bound | bound) - binder.elsewhere
        self.scopes.append(_Scope(inside, binder.imported, of_class))
        for statement in body:
            self.visit(statement)
        self.scopes.pop()

    def _comprehension(
        self,
        node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp,
        parts: list[ast.expr],
    ) -> None:
        targets: set[str] = set()
        for generator in node.generators:
            targets |= {
                each.id for each in ast.walk(generator.target) if isinstance(each, ast.Name)
            }
        self.scopes.append(_Scope(targets))
        for generator in node.generators:
            self.visit(generator.iter)
            for condition in generator.ifs:
                self.visit(condition)
        for part in parts:
            self.visit(part)
        self.scopes.pop()

    def _read(self, name: str, attributes: tuple[str, ...]) -> None:
        for depth, scope in enumerate(reversed(self.scopes)):
            if scope.of_class and depth > 0:
                continue  # a function does not see the names of the class around it
            if name in scope.imported:
                self.found.append(Reference(name, attributes, scope.imported[name]))
                return
            if name in scope.bound:
                # The methods of an object are looked up by whoever knows its class.
                if name in ("self", "cls") and attributes:
                    self.found.append(Reference(name, attributes))
                return
        self.found.append(Reference(name, attributes))


def _arguments(arguments: ast.arguments) -> list[ast.arg]:
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return every + [each for each in (arguments.vararg, arguments.kwarg) if each is not None]


class Binder(ast.NodeVisitor):
    """The names that a block of statements binds in its own scope.

    Attributes:
        bound: names that are assigned or defined.
        imported: names that are imported, and what they stand for.
        elsewhere: names that are declared global or nonlocal.
    """

    def __init__(self, package: str) -> None:
        self.package = package
        self.bound: set[str] = set()
        self.imported: dict[str, Import] = {}
        self.elsewhere: set[str] = set()

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.bound.add(node.id)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.bound.add(node.name)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.bound.add(node.name)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.bound.add(node.name)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """Its names are its own."""

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.bound.add(node.name)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.name:
            self.bound.add(node.name)
        self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name:
            self.bound.add(node.name)

    def visit_Global(self, node: ast.Global) -> None:
        self.elsewhere |= set(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self.elsewhere |= set(node.names)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.asname:
                self.imported[alias.asname] = Import(alias.name)
            else:
                top = alias.name.partition(".")[0]
                self.imported[top] = Import(top)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            # One dot is the package itself, each further dot one package above.
            parents = self.package.split(".")[: len(self.package.split(".")) - node.level + 1]
            base = ".".join([*parents, *filter(None, [node.module])])
        for alias in node.names:
            self.imported[alias.asname or alias.name] = Import(base, alias.name)

    def _comprehension(self, node: ast.expr) -> None:
        for part in ast.walk(node):
            if isinstance(part, ast.NamedExpr) and isinstance(part.target, ast.Name):
                self.bound.add(part.target.id)  # a walrus binds outside of the comprehension

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _comprehension
