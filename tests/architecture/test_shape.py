"""The gates of style: sizes, names, docstrings, where imports stand. Limits only go down."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cli

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("activities", "api", "audit", "bench", "commands", "domain", "embedded", "events", "ledger", "rails")
PACKAGES += ("operations", "reconciliation", "risk", "vault", "workflows")
FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 400
FORBIDDEN_NAMES = frozenset(
    {"util", "utils", "helper", "helpers", "common", "manager", "handler", "data", "info", "kit", "tx"}
)
FORBIDDEN_WORDS = re.compile(r"#.*\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)) + r")\b")
ROOT_MODULES = frozenset({"settings", "worker", "cli"})
SETTINGS_READERS = ("api/app.py", "api/serve.py", "worker.py", "commands/", "embedded/")
"""Composition roots: everyone else is given what they need as arguments."""


SOURCES = sorted([path for package in PACKAGES for path in (ROOT / package).rglob("*.py")] + [*ROOT.glob("*.py")])
EVERYTHING = SOURCES + sorted((ROOT / "tests").rglob("*.py"))


def named(path: Path) -> str:
    """The path as a person writes it."""
    return str(path.relative_to(ROOT))


def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text())


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a file."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_files_and_functions_are_short() -> None:
    """Files fit a sitting, functions a screen."""
    lines = {named(path): len(path.read_text().splitlines()) for path in EVERYTHING}
    assert {name: count for name, count in lines.items() if count > FILE_LINES_MAX} == {}
    lines = {
        f"{named(path)}:{function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path in EVERYTHING
        for function in functions(path)
    }
    assert {name: count for name, count in lines.items() if count > FUNCTION_LINES_MAX} == {}


def test_modules_say_what_they_decide() -> None:
    """Every module has a docstring; an `__init__` has nothing else, in one line."""
    docstrings = {path: ast.get_docstring(parsed(path)) or "" for path in SOURCES}
    assert [named(path) for path, docstring in docstrings.items() if not docstring] == []
    packages = [path for path in SOURCES if path.name == "__init__.py"]
    assert [named(p) for p in packages if len(parsed(p).body) != 1 or "\n" in docstrings[p]] == []


def test_public_functions_and_classes_say_what_the_caller_gets() -> None:
    """A docstring on everything public at the top of a module."""
    silent = [
        f"{named(path)}:{node.name}"
        for path in SOURCES
        for node in parsed(path).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_no_import_stands_inside_a_function() -> None:
    """Imports stand at the top, where cycles show."""
    inside = [
        f"{named(path)}:{node.lineno}"
        for path in EVERYTHING
        for function in functions(path)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert inside == []


def test_names_say_something() -> None:
    """No module or class is named after nothing; `payment` is no type; a transaction says which one."""
    # A data key is a term of cryptography: the key that encrypts, wrapped by one that does not.
    empty = [named(path) for path in SOURCES if {path.stem, path.relative_to(ROOT).parent.name} & FORBIDDEN_NAMES]
    for path in SOURCES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                words = {word.lower() for word in re.findall(r"[A-Z][a-z0-9]*", node.name.replace("DataKey", ""))}
                if words & FORBIDDEN_NAMES or node.name.lower() in ("payment", "transaction"):
                    empty.append(f"{named(path)}:{node.name}")
            name = node.arg if isinstance(node, ast.arg) else node.id if isinstance(node, ast.Name) else ""
            if name in ("tx", "transaction", "utils", "helpers"):
                empty.append(f"{named(path)}:{name}")
    assert empty == []


def test_nothing_is_left_for_later() -> None:
    """What is missing is an issue, not a note in the code."""
    assert [named(path) for path in EVERYTHING if FORBIDDEN_WORDS.search(path.read_text())] == []


def test_settings_are_read_by_composition_roots_only() -> None:
    """The environment enters at the edge; import-linter cannot see single-file modules, so this does."""
    inside = [path for path in SOURCES if path.parent != ROOT and not named(path).startswith(SETTINGS_READERS)]
    readers = [
        named(path)
        for path in inside
        for node in ast.walk(parsed(path))
        if (isinstance(node, ast.ImportFrom) and node.module in ROOT_MODULES)
        or (isinstance(node, ast.Import) and {alias.name for alias in node.names} & ROOT_MODULES)
    ]
    assert readers == []


def test_import_contracts_hold() -> None:
    """The rooms and doors of style.md, checked by import-linter (contracts in pyproject.toml)."""
    linter = Path(sys.executable).with_name("lint-imports")
    answer = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_command_line_starts_fast() -> None:
    """`cli.py` imports no model, workflow or server: it is loaded for every command."""
    heavy = "{'catboost', 'temporalio', 'fastapi', 'psycopg', 'pydantic'} & set(sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", f"import sys, cli; print({heavy})"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "set()"


def test_every_command_has_its_file() -> None:
    """`ledgerline --help` promises nothing that is not there."""
    assert [name for name in cli.COMMANDS if not (ROOT / "commands" / f"{name}.py").exists()] == []
