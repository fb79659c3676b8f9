"""What the agent's code asks of Android, and what the newest Android promises to have."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

from tests.agent.conftest import ran

# A list of the public classes and members of Android 16, made from Google's own jar, as types for Python.
LIST = "chaquopy-stubs-android"
# What every class has, and no list repeats.
OBJECT = frozenset({"<init>", "getClass", "equals", "hashCode", "toString", "notify", "notifyAll", "wait"})

THIS, SUPER = (
    re.compile(rf"^  {kind}_class: #\d+ +// ([\w/$]+)", re.MULTILINE) for kind in ("this", "super")
)
DECLARED = re.compile(r"^  .*?([\w$-]+)(?:\(.*\)(?: throws .*)?)?;\n    descriptor:", re.MULTILINE)
TOUCHED = re.compile(r'= (?:InterfaceMethod|Method|Field)ref +\S+ +// "?([\w/$]+)"?\."?([\w$<>-]+)"?:')

Member = tuple[str, str]  # of a class by its full name, with dots


def touched(folders: list[Path]) -> set[Member]:
    """The members of Android's classes that compiled code touches, also under the name of a class of its own."""
    files = [path for folder in folders for path in sorted(folder.rglob("*.class"))]
    texts = ran("javap", "-p", "-v", *files).split("Classfile ")[1:]
    ours = {_first(THIS, text): (_first(SUPER, text), set(DECLARED.findall(text))) for text in texts}
    found = set()
    for named, member in (pair for text in texts for pair in TOUCHED.findall(text)):
        owner = named
        while owner in ours and member not in ours[owner][1]:
            owner = ours[owner][0]
        if owner.startswith("android/"):
            found.add((owner.replace("/", ".").replace("$", "."), member))
    return found


def named_constants(folders: list[Path]) -> set[Member]:
    """Constants by name: the compiler copies their values, and nothing compiled remembers where from."""
    found = set()
    for source in (path for folder in folders for path in sorted(folder.rglob("*.kt"))):
        text = source.read_text()
        imported = {
            name.rsplit(".", 1)[-1]: name
            for name in re.findall(r"^import (android\.[\w.]+)$", text, re.MULTILINE)
        }
        for first, nested, constant in re.findall(
            r"\b([A-Z]\w+)((?:\.[A-Z]\w*[a-z]\w*)*)\.([A-Z][A-Z0-9_]+)\b", text
        ):
            if first in imported:
                found.add((imported[first] + nested, constant))
    return found


def is_public(member: Member) -> bool:
    """Whether the class or one that it inherits from is listed with this member."""
    owner, name = member
    classes = _listed()
    if owner not in classes:
        return False
    parents, members = classes[owner]
    is_here = name in members or name in OBJECT or f"{owner}.{name}" in classes
    return is_here or any(is_public((parent, name)) for parent in parents)


@cache
def _listed() -> dict[str, tuple[list[str], set[str]]]:
    """By class: its parents and its members."""
    return {
        name: found
        for path in distribution(LIST).files or []
        if path.name == "__init__.pyi"
        for package in [".".join(path.parent.parts).replace("-stubs", "")]
        for name, found in _classes(package, "", ast.parse(path.read_text(encoding="utf-8")))
    }


def _classes(
    package: str, outer: str, tree: ast.Module | ast.ClassDef
) -> Iterator[tuple[str, tuple[list[str], set[str]]]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            name = outer + node.name
            bases = [ast.unparse(base).split("[")[0] for base in node.bases]
            full = [base if base.startswith(("android.", "java.")) else f"{package}.{base}" for base in bases]
            yield f"{package}.{name}", (full, set(_members(node)))
            yield from _classes(package, f"{name}.", node)


def _members(node: ast.ClassDef) -> Iterator[str]:
    for part in node.body:
        if isinstance(part, ast.FunctionDef):
            yield part.name
        elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            yield part.target.id


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""
