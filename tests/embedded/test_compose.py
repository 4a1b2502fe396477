"""docker-compose.yml, as far as it can be checked without Docker: it parses, waits for health, has no secrets."""

import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_healthy_or_done(name: str) -> None:
    """Each has a health check, or runs once and is waited for until it has succeeded."""
    service = SERVICES[name]
    conditions = [other.get("depends_on", {}).get(name, {}).get("condition") for other in SERVICES.values()]
    assert "healthcheck" in service or "service_completed_successfully" in conditions


@pytest.mark.parametrize("name", SERVICES)
def test_whoever_is_waited_for_can_be(name: str) -> None:
    """Every dependency exists and is waited for by health or completion, never just by start."""
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        assert how["condition"] in ("service_healthy", "service_completed_successfully")
        assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[needed]


def test_no_secret_has_a_default() -> None:
    """Every value taken from the environment is required, with a message; nothing secret is written here."""
    taken = re.findall(r"(?<!\$)\$\{([^}]*)\}", TEXT)
    assert taken and all(re.fullmatch(r"[A-Z_]+:\?.+", variable) for variable in taken)
    for line in TEXT.splitlines():
        if re.search(r"(PASSWORD|PWD|SECRET)\w*: ", line) and "environment: " not in line:
            assert "${" in line or "_FILE: /run/secrets/" in line, line


def test_the_example_environment_has_no_values() -> None:
    """Whoever copies it has to fill it in; it names everything that compose requires."""
    lines = [line for line in (ROOT / "deploy" / "env.example").read_text().splitlines() if not line.startswith("#")]
    assert all(line.endswith("=") for line in lines)
    needed = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", TEXT)) | set(re.findall(r"\{environment: ([A-Z_]+)\}", TEXT))
    assert {line.rstrip("=") for line in lines} == needed


@pytest.mark.parametrize(
    "name", [name for name, service in SERVICES.items() if service.get("image") == "ledgerline:local"]
)
def test_our_services_run_without_privileges(name: str) -> None:
    """Read-only, no capabilities; the image itself switches to an ordinary user."""
    assert SERVICES[name]["read_only"] is True
    assert SERVICES[name]["cap_drop"] == ["ALL"]


def test_the_image_is_not_run_as_root() -> None:
    """The last USER of the Dockerfile is an ordinary one, and packages come from the hashed lock."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^USER (\w+)$", dockerfile, re.MULTILINE)[-1:] == ["ledgerline"]
    assert "--require-hashes -r requirements.lock" in dockerfile


def test_ports_are_published_on_loopback_only() -> None:
    """Whoever wants them elsewhere puts a proxy with TLS in front."""
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published and all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.parametrize("script", ["deploy/make-venv", "deploy/ledgerline", ".ci/run"])
def test_scripts_are_executable(script: str) -> None:
    """A clone can run them as they are."""
    assert (ROOT / script).stat().st_mode & stat.S_IXUSR
