"""The real parts of one instance without its API: PostgreSQL, Temporal and the sandbox rails, keys entered.

For tests that run the API's or the worker's code in a process of their own making.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from embedded.home import Home
from embedded.instance import Instance, migrate_database, plan_instance
from embedded.seed import seed_keys
from settings import ROOT, Settings, environment_name
from tests.simulation.auditor import Document

PORTS = ("api_port", "temporal_port", "temporal_ui_port", "postgres_port", "rails_port")


@contextlib.contextmanager
def running_parts(home_folder: Path, *, temporal_address: str | None = None) -> Iterator[Instance]:
    """Start what an API needs, and stop it on the way out. `temporal_address`: somebody else's Temporal server.

    Call it from the main thread: the servers die with it.
    """
    home_folder.mkdir(parents=True, exist_ok=True)
    home = Home(home_folder)
    home.prepare()
    assert home.try_lock(), f"{home_folder} is in use"
    ports = dict.fromkeys(PORTS, 0)
    instance = plan_instance(
        Settings(home=home_folder, temporal_address=temporal_address, **ports),  # type: ignore[arg-type]
        home,
    )
    assert instance.postgres is not None and instance.rails is not None
    with contextlib.ExitStack() as stack:
        stack.callback(instance.postgres.stop)
        instance.postgres.start()
        migrate_database(instance)
        secrets = instance.secrets
        seed_keys(instance.database.admin_url, test_key=secrets.test_key, admin_key=secrets.admin_key)
        if instance.temporal is not None:
            stack.callback(instance.temporal.stop)
            instance.temporal.start()
        stack.callback(instance.rails.stop)
        instance.rails.start()
        yield instance


def sandbox_of(instance: Instance) -> Document:
    """What `sandbox.json` would say."""
    return {
        "api_url": instance.api_url,
        "test_key": instance.secrets.test_key,
        "admin_key": instance.secrets.admin_key,
        "temporal_address": instance.temporal_address,
        "database_url": instance.database.app_url,
        "rails_url": instance.rails_url,
    }


def settings_of(instance: Instance) -> dict[str, str]:
    """The settings of the instance's API, by field."""
    return {
        "home": str(instance.home.folder),
        "api_port": instance.api_url.rsplit(":", 1)[1],
        "database_url": instance.database.app_url,
        "database_api_url": instance.database.api_url,
        "temporal_address": instance.temporal_address,
        "rails_url": instance.rails_url,
    }


def environment_of(instance: Instance) -> dict[str, str]:
    """The environment of a process that is to be the instance's API."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LEDGERLINE_")}
    settings = {environment_name(name): value for name, value in settings_of(instance).items()}
    return {**inherited, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **settings}
