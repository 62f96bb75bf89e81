"""Python of the documentation, checked without running it: names of this package, attributes, and arguments of calls."""

from __future__ import annotations

import ast
import builtins
import collections.abc
import dataclasses
import importlib
import inspect
import pkgutil
import types
from typing import Any, NamedTuple, Self, Union, get_args, get_origin, get_type_hints

from maskrcnn.config.fields import replace
from maskrcnn.config.model import ModelConfig
from maskrcnn.config.run import READING, RunConfig

ITERABLES = (
    list,
    tuple,
    collections.abc.Iterator,
    collections.abc.Iterable,
    collections.abc.Sequence,
    collections.abc.Generator,
)


class Value(NamedTuple):
    """What is known of an expression: the object itself, or the type of it or of what it holds."""

    kind: str  # "object", "instance", "items"
    of: Any


class Reader(ast.NodeVisitor):
    """Reads the blocks of one page in their order and collects what is wrong with them in `faults`."""

    def __init__(self) -> None:
        self.names: dict[str, Value | None] = {}
        self.faults: list[str] = []
        self.resolved = 0  # attributes and calls of this package

    def read(self, text: str) -> None:
        tree = ast.parse(text)
        bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
        bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        bound |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        self.names |= dict.fromkeys(bound)
        self.visit(tree)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            root = alias.name.partition(".")[0]
            known = root == "maskrcnn"
            self.names[alias.asname or root] = Value("object", importlib.import_module(root)) if known else None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        for alias in node.names:
            value = None
            if module.partition(".")[0] == "maskrcnn":
                value = self.attribute(Value("object", importlib.import_module(module)), alias.name)
            self.names[alias.asname or alias.name] = value

    def visit_Assign(self, node: ast.Assign) -> None:
        value = self.value(node.value)
        for target in node.targets:
            self.bind(target, value)

    def visit_For(self, node: ast.For) -> None:
        value = self.value(node.iter)
        self.bind(node.target, _one_of(value))
        for statement in node.body:
            self.visit(statement)

    def visit_Expr(self, node: ast.Expr) -> None:
        self.value(node.value)

    def visit_Name(self, node: ast.Name) -> None:
        self.value(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.value(node)

    def visit_Call(self, node: ast.Call) -> None:
        self.value(node)

    def bind(self, target: ast.expr, value: Value | None) -> None:
        if isinstance(target, ast.Name):
            self.names[target.id] = value
        elif isinstance(target, ast.Tuple):
            for part in target.elts:
                self.bind(part, _one_of(value))

    def value(self, node: ast.expr) -> Value | None:
        """What an expression is, as far as it is of this package; every name and call in it is checked."""
        if isinstance(node, ast.Name):
            if node.id not in self.names and not hasattr(builtins, node.id):
                self.faults.append(f"{node.id} is used before the page says what it is")
            return self.names.get(node.id)
        if isinstance(node, ast.Attribute):
            base = self.value(node.value)
            return base and self.attribute(base, node.attr)
        if isinstance(node, ast.Call):
            function = self.value(node.func)
            for part in (*node.args, *(keyword.value for keyword in node.keywords)):
                self.value(part)
            return function and self.answer(function, node)
        if isinstance(node, ast.Subscript):
            self.value(node.slice)
            return _one_of(self.value(node.value))
        self.generic_visit(node)
        return None

    def attribute(self, base: Value, name: str) -> Value | None:
        self.resolved += 1
        kind, of = base
        if isinstance(of, types.ModuleType):
            try:
                return Value("object", getattr(of, name))
            except AttributeError:
                self.faults.append(f"{of.__name__} has no {name}")
                return None
        if kind == "items" or not isinstance(of, type):
            return None
        if hasattr(of, name):
            found = getattr(of, name)
            return _typed(found.fget, of) if isinstance(found, property) else Value("object", found)
        if name not in get_type_hints(of):
            self.faults.append(f"{of.__name__} has no {name}")
        return None

    def answer(self, function: Value, call: ast.Call) -> Value | None:
        """What a call gives, its arguments checked against the signature."""
        called = function.of
        if function.kind != "object" or not callable(called):
            return None
        unpacked = any(isinstance(part, ast.Starred) for part in call.args) or any(word.arg is None for word in call.keywords)
        if not unpacked:
            self.resolved += 1
            signature = inspect.signature(called)
            method = inspect.isfunction(called) and "self" in signature.parameters
            words = {word.arg: None for word in call.keywords if word.arg}
            try:
                bound = signature.bind(*[None] * (len(call.args) + method), **words)
            except TypeError as error:
                self.faults.append(f"{called.__qualname__}(): {error}")
            else:
                for name in (
                    bound.arguments.get("settings", {}) | bound.arguments.get("changes", {}) if called is not replace else ()
                ):
                    if not is_setting(name):
                        self.faults.append(f"{called.__qualname__}(): there is no setting {name}")
        if isinstance(called, type):
            return Value("instance", called)
        return _typed(called, getattr(called, "__self__", None))


def attribute_of(name: str) -> Any:
    """What a dotted name stands for.

    Raises:
        AttributeError: where a part of it does not exist.
    """
    return pkgutil.resolve_name(name)


def is_setting(name: str) -> bool:
    """Whether it is a field of a training, of how data are read, or of the model (`detect__score` or `detect.score`)."""
    if name in {*READING, *(field.name for field in dataclasses.fields(RunConfig))}:
        return True
    config: Any = ModelConfig
    for part in name.replace("__", ".").split("."):
        hints = get_type_hints(config) if dataclasses.is_dataclass(config) else {}
        if part not in hints:
            return False
        config = next((kind for kind in get_args(hints[part]) if dataclasses.is_dataclass(kind)), hints[part])
    return True


def _typed(function: Any, owner: Any) -> Value | None:
    """What a function says that it answers, if that is of this package."""
    try:
        hint = get_type_hints(function).get("return")
    except (NameError, TypeError):
        return None  # named for the type checker alone
    if hint is Self and isinstance(owner, type):
        return Value("instance", owner)
    if get_origin(hint) in (Union, types.UnionType):
        options = [option for option in get_args(hint) if option is not type(None)]
        hint = options[0] if len(options) == 1 else None
    if get_origin(hint) in ITERABLES:
        inner = get_args(hint)[0]
        return Value("items", inner) if _ours(inner) else None
    return Value("instance", hint) if _ours(hint) else None


def _ours(kind: Any) -> bool:
    return isinstance(kind, type) and kind.__module__.startswith("maskrcnn")


def _one_of(value: Value | None) -> Value | None:
    return Value("instance", value.of) if value is not None and value.kind == "items" else None
