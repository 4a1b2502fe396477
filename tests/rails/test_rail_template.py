"""A rail made from the template, as docs/adding-a-rail.md says: one package, one line, the contract suite."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str, **environment: str) -> str:
    """Run a command and return what it printed; say all of it if it failed."""
    ended = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=150
    )
    assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package made by the command."""
    folder = tmp_path_factory.mktemp("made")
    run(sys.executable, "cli.py", "rails", "new", "acme_pay", "--into", str(folder))
    return folder / "ledgerline-rail-acme_pay"


def test_a_rail_of_the_template_keeps_the_contract(package: Path) -> None:
    said = run(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(package / "tests")),
        *("--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml")),
        PYTHONPATH=f"{ROOT}{os.pathsep}{package}",
    )
    assert "[100%]" in said and said.splitlines()[0].startswith(".......... ")


def test_one_installed_package_and_one_line_switch_a_rail_on(package: Path, tmp_path: Path) -> None:
    target, home = tmp_path / "installed", tmp_path / "home"
    home.mkdir()
    run(
        *(sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-index", "--no-deps"),
        *("--no-build-isolation", "--target", str(target), str(package)),
    )
    environment = {"PYTHONPATH": str(target), "LEDGERLINE_HOME": str(home), "COLUMNS": "200"}
    assert "acme_pay" not in run(sys.executable, "cli.py", "rails", "list", **environment)
    (home / "rails.toml").write_text('acme_pay = { url = "http://127.0.0.1:9" }\n')
    assert "acme_pay" in run(sys.executable, "cli.py", "rails", "list", **environment)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nobody = { }", "no installed package offers the rail nobody"),
        ('nobody = "x"', "nobody needs a table"),
        ("nobody = { port = 1 }", "nobody.port is not a string"),
        ("nobody =", "cannot be read"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "rails.toml").write_text(line + "\n")
    ended = subprocess.run(
        [sys.executable, "cli.py", "rails", "list"],
        cwd=ROOT,
        env={**os.environ, "LEDGERLINE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2 and said in ended.stderr and "Traceback" not in ended.stderr


def test_nothing_that_exists_is_written_over(package: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "cli.py", "rails", "new", "acme_pay", "--into", str(package.parent)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2 and "stays as it is" in ended.stderr
