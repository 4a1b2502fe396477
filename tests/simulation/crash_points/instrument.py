"""Every `await` of the product's code as a place to die at.

An import hook rewrites the source of the instrumented packages: `await x` becomes `await crossing("where", x)`,
and `async with` is told apart into before, entered and left. So the list of points is whatever is awaited;
nobody writes it down, and nobody can forget one. A control socket arms one point; when the process gets there
for the n-th time it kills itself with SIGKILL, as a power cut would.
"""

import ast
import builtins
import importlib.abc
import importlib.machinery
import json
import os
import signal
import socketserver
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

INSTRUMENTED = frozenset({"api", "activities", "ledger", "rails", "vault", "workflows"})
SHOWN_CHARACTERS = 60


class Points:
    """What was crossed, in order of first crossing, and where to die."""

    def __init__(self) -> None:
        self.crossed: Counter[str] = Counter()
        self._armed: str | None = None
        self._occurrence = 0
        self._last_words: Path | None = None

    def arm(self, point: str, occurrence: int, last_words: Path) -> None:
        """Die when `point` is crossed for the `occurrence`-th time from now on."""
        self._last_words, self._occurrence, self._armed = last_words, occurrence, point

    def cross(self, point: str) -> None:
        """Note a crossing; does not return when it is the armed one."""
        self.crossed[point] += 1
        if point != self._armed:
            return
        self._occurrence -= 1
        if self._occurrence == 0:
            assert self._last_words is not None
            self._last_words.write_text(point)
            os.kill(os.getpid(), signal.SIGKILL)


POINTS = Points()


async def crossing(where: str, awaited: Awaitable[Any]) -> Any:
    """Await something, with a point before it and one after it, also when it raises."""
    POINTS.cross(f"{where} · before")
    try:
        return await awaited
    finally:
        POINTS.cross(f"{where} · after")


class _Rewriter(ast.NodeTransformer):
    def __init__(self, module: str) -> None:
        self._module = module

    def visit_Await(self, node: ast.Await) -> ast.Await:
        """Put the crossing between the awaited and its await."""
        where = self._where(node, node.value)
        self.generic_visit(node)
        call = ast.Call(func=_name("crossing"), args=[ast.Constant(where), node.value], keywords=[])
        return ast.copy_location(ast.Await(value=call), node)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> list[ast.stmt]:
        """Points before entering, inside, and after leaving."""
        where = self._where(node, node.items[0].context_expr, "async with ")
        self.generic_visit(node)
        node.body = [_cross(f"{where} · entered"), *node.body]
        return [_cross(f"{where} · before"), node, _cross(f"{where} · left")]

    def _where(self, node: ast.Await | ast.AsyncWith, value: ast.expr, verb: str = "await ") -> str:
        shown = ast.unparse(value).replace("\n", " ")[:SHOWN_CHARACTERS]
        return f"{self._module}:{node.lineno} {verb}{shown}"


def _name(what: str) -> ast.expr:
    return ast.Attribute(value=ast.Name("__crash_points__", ast.Load()), attr=what, ctx=ast.Load())


def _cross(where: str) -> ast.stmt:
    points = ast.Attribute(value=_name("POINTS"), attr="cross", ctx=ast.Load())
    return ast.Expr(ast.Call(func=points, args=[ast.Constant(where)], keywords=[]))


class _Loader(importlib.machinery.SourceFileLoader):
    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:  # type: ignore[override]
        """Compile the rewritten source."""
        tree = _Rewriter(self.name).visit(ast.parse(data, filename=str(path)))
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)

    def path_stats(self, path: Any) -> Any:
        """Keep rewritten code out of the caches, and cached code out of here."""
        raise OSError("no bytecode")


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Take over the loading of instrumented packages only; the sandbox rails are another world."""
        if fullname.split(".")[0] not in INSTRUMENTED or fullname.startswith("rails.sandbox"):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install() -> None:
    """Instrument everything that is imported from now on."""
    builtins.__crash_points__ = sys.modules[__name__]  # type: ignore[attr-defined]
    sys.meta_path.insert(0, _Finder())


class _Control(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        """One order a connection: `{"arm": point, "occurrence": n, "last_words": path}` or `{"take": true}`."""
        order = json.loads(self.rfile.readline())
        answer: Any = {}
        if "arm" in order:
            POINTS.arm(order["arm"], order["occurrence"], Path(order["last_words"]))
        else:
            answer = list(POINTS.crossed.items())
            POINTS.crossed.clear()
        self.wfile.write(json.dumps(answer).encode() + b"\n")


def listen(path: Path) -> None:
    """Take orders at a UNIX socket, on a thread, until the process ends."""
    path.unlink(missing_ok=True)
    server = socketserver.ThreadingUnixStreamServer(str(path), _Control)
    threading.Thread(target=server.serve_forever, name="crash points", daemon=True).start()
