"""The modules of ``lib/`` that a piece of code imports, directly or not.

An import inside a function counts, one for the type checker alone does not. A package may hand out
names on first use: a module-level ``__getattr__`` loads them, and its ``TYPE_CHECKING`` block says
where each one lives. ``from localgd import run`` then counts as an import of ``run``'s home.
"""

import ast
import importlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bookrun.files import digest

if TYPE_CHECKING:
    from grimp import ImportGraph

#: A line that IPython understands and Python does not.
_MAGIC = re.compile(r"^\s*[%!].*$", re.MULTILINE)


@dataclass(frozen=True)
class Library:
    """The packages in the directory ``root``, and which of their modules imports which."""

    root: Path

    def imported(self, *codes: str) -> frozenset[str]:
        """Return the modules that run when ``codes`` do, the packages above them included.

        A code that cannot be parsed is taken to import everything.
        """
        found: set[str] = set()
        for code in codes:
            try:
                tree = ast.parse(_MAGIC.sub("", code))
            except SyntaxError:
                return frozenset(self._graph.modules)
            found.update(self._homes(tree))
        return self.behind(found)

    def behind(self, modules: Iterable[str]) -> frozenset[str]:
        """Return those of ``modules`` that are in the library, and all that they import."""
        known = set(modules) & self._graph.modules
        return frozenset(known.union(*(self._graph.find_upstream_modules(each) for each in known)))

    def fingerprints(self, modules: Iterable[str]) -> dict[str, str]:
        """Return a short digest of each module's file; a package's data files count as its own."""
        return {module: self._fingerprint(module) for module in sorted(modules)}

    def _fingerprint(self, module: str) -> str:
        if module not in self._known:
            path = self._path(module)
            package = path.name == "__init__.py"
            data = sorted(_data_files(path.parent)) if package else []
            self._known[module] = digest(*(each.read_bytes() for each in [path, *data]))[:16]
        return self._known[module]

    @cached_property
    def _known(self) -> dict[str, str]:
        return {}

    @cached_property
    def _graph(self) -> "ImportGraph":
        """The import graph, in which a module imports the packages above it too."""
        graph = self._direct
        askers = {
            importer
            for package in self._lazy
            for importer in graph.find_modules_that_directly_import(package)
        }
        for module in askers:
            for home in self._homes(ast.parse(self._path(module).read_bytes())):
                if home in graph.modules and home != module:
                    graph.add_import(importer=module, imported=home)
        for module in graph.modules:
            parent = module.rpartition(".")[0]
            if parent:
                graph.add_import(importer=module, imported=parent)
        return graph

    @cached_property
    def _direct(self) -> "ImportGraph":
        from grimp import ImportGraph, build_graph  # only where freshness is asked for

        packages = sorted(path.parent.name for path in self.root.glob("*/__init__.py"))
        if not packages:
            return ImportGraph()
        importlib.invalidate_caches()
        sys.path.insert(0, str(self.root))
        try:
            return build_graph(*packages, exclude_type_checking_imports=True, cache_dir=None)
        finally:
            sys.path.remove(str(self.root))

    @cached_property
    def _lazy(self) -> Mapping[str, Mapping[str, str]]:
        """The packages that load names on first use: each name with the module it comes from."""
        found = {}
        for path in self.root.rglob("__init__.py"):
            tree = ast.parse(path.read_bytes())
            if any(isinstance(n, ast.FunctionDef) and n.name == "__getattr__" for n in tree.body):
                package = ".".join(path.parent.relative_to(self.root).parts)
                found[package] = {
                    alias.asname or alias.name: self._submodule(node.module or "", alias.name)
                    for block in tree.body
                    if _type_checking(block)
                    for node in ast.walk(block)
                    if isinstance(node, ast.ImportFrom)
                    for alias in node.names
                }
        return found

    def _homes(self, tree: ast.Module) -> Iterator[str]:
        """Yield the modules that the imports of ``tree`` lead to."""
        for node in _running(tree):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    yield from self._home(node.module, alias.name)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name
                    package = alias.name if alias.asname else alias.name.partition(".")[0]
                    if package in self._lazy:
                        for name in _attributes(tree, alias.asname or package):
                            yield from self._home(package, name)

    def _home(self, module: str, name: str) -> Iterator[str]:
        yield module
        if name == "*":
            yield from self._lazy.get(module, {}).values()
        else:
            yield self._lazy.get(module, {}).get(name) or self._submodule(module, name)

    def _submodule(self, module: str, name: str) -> str:
        return f"{module}.{name}" if f"{module}.{name}" in self._direct.modules else module

    def _path(self, module: str) -> Path:
        path = self.root.joinpath(*module.split("."))
        return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imported_names(code: str) -> set[str]:
    """Return the modules that a Python text names in its imports, as they stand there."""
    found: set[str] = set()
    for node in _running(ast.parse(code)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below ``node`` that more than the type checker sees."""
    for child in ast.iter_child_nodes(node):
        if not _type_checking(child):
            yield child
            yield from _running(child)


def _type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _attributes(tree: ast.Module, name: str) -> Iterator[str]:
    """Yield what is taken from the module called ``name``, or a star where it is handed on."""
    taken = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == name
    ]
    yield from (node.attr for node in taken)
    if sum(isinstance(n, ast.Name) and n.id == name for n in ast.walk(tree)) > len(taken):
        yield "*"


def _data_files(package: Path) -> Iterator[Path]:
    """Yield the files of a package that are not Python, those of packages below it left out."""
    for path in package.iterdir():
        if path.is_dir() and path.name != "__pycache__" and not (path / "__init__.py").is_file():
            yield from (each for each in path.rglob("*") if each.is_file())
        elif path.is_file() and path.suffix != ".py":
            yield path
