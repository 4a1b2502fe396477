"""The documents tell the truth: what they link to, name, quote and list is there."""

import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from api.app import ROUTES
from cli import COMMANDS
from settings import Settings, environment_name
from vault.tokens import ROUTE as TOKENS_ROUTE

ROOT = Path(__file__).resolve().parents[2]
DECISIONS = ROOT / "docs" / "decisions"
PICTURES = ROOT / "docs" / "pictures"
FOLDERS = frozenset(path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in (".git", ".venv"))
VISIBLE = sorted(name for name in FOLDERS if not name.startswith("."))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for name in VISIBLE for path in (ROOT / name).rglob("*.md"))])
RECORDS = sorted(DECISIONS.glob("[0-9]*.md"))

LINK = re.compile(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"")
CODE = re.compile(r"```.*?\n(.*?)```|``(.+?)``|`([^`\n]+)`", re.DOTALL)
MAKE = re.compile(r"\bmake ([a-z][a-z-]*)")
COMMAND = re.compile(r"(?:^|[\s/(|])ledgerline ([a-z]+)(?: ([a-z]+))?", re.MULTILINE)
SETTING = re.compile(r"\bLEDGERLINE_[A-Z_]+[A-Z]\b")
PATH = re.compile(r"(?<![\w./{-])(?:[\w.*-]+/)+[\w.*-]*|(?<![\w./{-])[\w-]+\.(?:py|toml|lock|yml|md)\b")
TEST_NAME = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
WRITTEN_ROUTE = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE)\s+'?/(v1/)?([a-z_{}/.…]+)")
SENTENCES = ("ready",)
"""Words after `ledgerline` that are output, not commands: `ledgerline ready`."""

# Written apart, so that this file does not hold what it forbids.
FORBIDDEN = {
    "a registry's host": "|".join(("pypi" + r"\.org", "pythonhosted" + r"\.org", "registry" + r"\.npmjs")),
    "a path of one machine": "|".join(("/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/")),
    "a note for later": r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)) + r")\b",
}


def named(path: Path) -> str:
    """The path as a person writes it."""
    return str(path.relative_to(ROOT))


def code_of(document: Path) -> Iterator[str]:
    """Every piece of code in a document: blocks and spans."""
    for match in CODE.finditer(document.read_text()):
        yield next(part for part in match.groups() if part is not None)


def slugs_of(document: Path) -> set[str]:
    """The anchors GitHub gives to a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def each_document() -> pytest.MarkDecorator:
    """Run a test for every document."""
    return pytest.mark.parametrize("document", DOCUMENTS, ids=named)


@each_document()
def test_links_lead_somewhere(document: Path) -> None:
    """Relative links and pictures exist, anchors too."""
    broken = []
    for match in LINK.finditer(document.read_text()):
        target = unquote(match[1] or match[2])
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (document.parent / path).resolve() if path else document
        if not linked.exists() or (anchor and anchor not in slugs_of(linked)):
            broken.append(target)
    assert broken == []


@each_document()
def test_make_targets_exist(document: Path) -> None:
    """`make something` is in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {name for code in code_of(document) for name in MAKE.findall(code)} - targets == set()


@each_document()
def test_commands_exist(document: Path) -> None:
    """`ledgerline something` is a command with a module, and its subcommand one of that command."""
    unknown = []
    for code in code_of(document):
        for name, following in COMMAND.findall(code):
            if name in SENTENCES:
                continue
            if name not in COMMANDS or not (ROOT / "commands" / f"{name}.py").exists():
                unknown.append(name)
                continue
            app = importlib.import_module(f"commands.{name}").app
            known = {one.name or one.callback.__name__ for one in app.registered_commands}
            if following and app.registered_callback and following not in known:
                unknown.append(f"{name} {following}")
    assert unknown == []


@each_document()
def test_paths_exist(document: Path) -> None:
    """What looks like a file or folder of the repository is one."""
    missing = []
    for code in code_of(document):
        for written in PATH.findall(code):
            first = written.split("/", 1)[0]
            if "/" not in written:
                found = any(ROOT.glob(written)) or any((document.parent).glob(written)) or is_somewhere(written)
            elif first in FOLDERS:
                found = any(folder.glob(written.rstrip("/")) for folder in (ROOT, document.parent))
            else:
                continue
            if not found:
                missing.append(written)
    assert missing == []


def is_somewhere(name: str) -> bool:
    """Tell whether a file of this name is in any folder of ours."""
    return any(any((ROOT / folder).rglob(name)) for folder in VISIBLE)


@each_document()
def test_settings_exist(document: Path) -> None:
    """Environment variables are settings, or are filled in for the compose file."""
    known = {environment_name(field) for field in Settings.model_fields}
    known |= set(SETTING.findall((ROOT / "deploy" / "env.example").read_text()))
    assert set(SETTING.findall(document.read_text())) - known == set()


@each_document()
def test_tests_named_exist(document: Path) -> None:
    """`tests/…/test_x.py::test_y` is a test of that file."""
    named_tests = TEST_NAME.findall(document.read_text())
    assert [(file, test) for file, test in named_tests if f"def {test}(" not in (ROOT / file).read_text()] == []


@pytest.mark.parametrize(
    "name", ["README.md", "docs/api.md", "docs/operations.md", "docs/sandbox.md", "docs/security.md"]
)
def test_routes_exist(name: str) -> None:
    """`METHOD /path` is a route of the API; ids match any segment."""
    routes = {(method, route.path) for room in ROUTES for route in room.router.routes for method in route.methods}
    routes.add(("POST", TOKENS_ROUTE))
    unknown = []
    for code in code_of(ROOT / name):
        for method, prefix, path in WRITTEN_ROUTE.findall(code):
            if not prefix and "call " not in code:
                continue  # a route of the rails' own process
            if not any(method == verb and fits(f"/v1/{path}", template) for verb, template in routes):
                unknown.append(f"{method} /v1/{path}")
    assert unknown == []


def fits(path: str, template: str) -> bool:
    """Tell whether a written path is one of a route: `/v1/charges/ch_…/void` of `/v1/charges/{charge_id}/void`."""
    written, segments = path.rstrip("/").split("/"), template.split("/")
    return len(written) == len(segments) and all(
        segment.startswith("{") or one == segment for one, segment in zip(written, segments, strict=True)
    )


def test_decisions_are_numbered_and_enforced() -> None:
    """Records count up, each number once; they say why, what and by what, and stand in the list."""
    numbers = [record.name[:4] for record in RECORDS]
    assert len(numbers) == len(set(numbers)) and numbers[0] == "0001"
    listed = (DECISIONS / "README.md").read_text()
    wrong = []
    for record in RECORDS:
        text = record.read_text()
        title = re.match(rf"# {record.name[:4]} (.+)\n", text)
        parts = all(f"**{part}" in text for part in ("Context.**", "Decision.**", "Enforced by**"))
        if title is None or not parts or f"({record.name}) | {title[1]} |" not in listed:
            wrong.append(record.name)
    assert wrong == []


def test_every_dependency_has_a_row() -> None:
    """Decision 0013 names each dependency of pyproject.toml, and none that is gone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[\[<>=;! ]", one, maxsplit=1)[0] for one in wanted}
    text = (DECISIONS / "0013-dependencies-taken.md").read_text()
    assert {name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)} == set()
    rows = re.findall(r"^\| ([a-z0-9, -]+) \|", text, re.MULTILINE)
    assert {name for row in rows for name in row.split(", ")} - names - {"package"} == set()


def test_locks_are_hashed_and_name_no_registry() -> None:
    """Every pinned package has hashes, and no line says where it came from."""
    for lock in (ROOT / "requirements.lock", ROOT / "requirements-dev.lock"):
        text = lock.read_text()
        assert "http" not in re.sub(r"^[\w.-]+==.*$", "", text, flags=re.MULTILINE)
        packages = re.split(r"\n(?=\w)", text.strip())
        assert [one.split()[0] for one in packages if "--hash=sha256:" not in one] == []


@pytest.mark.parametrize("what", FORBIDDEN)
def test_documents_are_free_of(what: str) -> None:
    """No registry, no machine, nothing left for later."""
    files = [*DOCUMENTS, *PICTURES.glob("*.svg")]
    assert [named(path) for path in files if re.search(FORBIDDEN[what], path.read_text())] == []


@pytest.mark.parametrize("picture", sorted(PICTURES.glob("*.svg")), ids=lambda path: path.stem)
def test_pictures_stand_alone(picture: Path) -> None:
    """A picture parses, says what it shows, fits light and dark pages, loads nothing, and is used."""
    text = picture.read_text()
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and "viewBox" in root.attrib
    assert all(root.find(f"{{http://www.w3.org/2000/svg}}{part}") is not None for part in ("title", "desc"))
    assert "prefers-color-scheme: dark" in text and 'class="page"' in text
    assert not re.search(r"<script|href=|@import|url\((?!#)", text)
    assert any(f"docs/pictures/{picture.name}" in document.read_text() for document in DOCUMENTS)


def test_the_readmes_first_screen_is_the_two_commands_and_the_call() -> None:
    """`make up`, `make test`, and a call that can be pasted, before any picture."""
    first = (ROOT / "README.md").read_text().split("<img", 1)[0]
    assert len(first.splitlines()) <= 45
    call = ("make up", "make test", "ord_7741", '"amount": 8420', "tok_visa_4291", '"rail": "auto"', '"capture": true')
    assert [part for part in (*call, '"status": "settled"', '"fee": 158') if part not in first] == []
