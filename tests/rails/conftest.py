"""The sandbox process of the rails tests, and the rails that talk to it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from rails.registry import Rails, build_rails
from tests.rails.sandbox_process import SandboxProcess


@pytest.fixture(scope="session")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    process = SandboxProcess(tmp_path_factory.mktemp("sandbox"))
    process.start()
    yield process
    process.stop()


@pytest.fixture
def sandbox(shared_sandbox: SandboxProcess) -> Iterator[SandboxProcess]:
    yield shared_sandbox
    shared_sandbox.heal()


@pytest.fixture
async def rails(sandbox: SandboxProcess) -> AsyncIterator[Rails]:
    built = build_rails(sandbox_url=sandbox.url)
    yield built
    await built.aclose()
