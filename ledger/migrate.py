"""Brings a database to the newest schema and makes the three roles. Safe to run again at any time.

Roles belong to the whole PostgreSQL cluster: databases of one cluster that are migrated at the same
time meet in the catalogue, so a collision is tried again.
"""

import random
import time
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from psycopg import sql
from sqlalchemy import NullPool, create_engine, text

from ledger.periods import EXTEND

OWNER, APP, API = "ledgerline_owner", "ledgerline_app", "ledgerline_api"
MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 7_241_551_903
_COLLISIONS = (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation, psycopg.errors.InternalError_)


def migrate(
    admin_url: str, *, app_password: str, api_password: str, owner_password: str | None = None, revision: str = "head"
) -> None:
    """Create the roles if missing, set their passwords, apply every migration not yet applied, make periods ahead.

    Idempotent. Two at once on one database wait for one another. Without `owner_password` the
    owner can't log in (it then only owns).

    Args:
        admin_url: libpq URL of a superuser, or of a role that may create roles, on the database to migrate.
        revision: the last one to apply; another than the newest is for tests of what comes after it.

    Raises:
        psycopg.OperationalError: the database could not be reached. Retryable.
    """
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        for role, password in ((OWNER, owner_password), (APP, app_password), (API, api_password)):
            _retry_collisions(admin, role, password)
        _give_schema(admin)
        _upgrade(admin_url, revision)
        if revision == "head":
            admin.execute(EXTEND.encode())


def _retry_collisions(admin: psycopg.Connection, role: str, password: str | None) -> None:
    for attempts_left in range(9, -1, -1):
        try:
            _make_role(admin, role, password)
            return
        except _COLLISIONS:
            if attempts_left == 0:
                raise
            time.sleep(random.uniform(0.01, 0.1))


def _make_role(admin: psycopg.Connection, role: str, password: str | None) -> None:
    name = sql.Identifier(role)
    if admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
        admin.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(name))
    if password is not None:
        # Hashed here, so that the server's log never sees the password.
        verifier = admin.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
        admin.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(verifier)))


def _give_schema(admin: psycopg.Connection) -> None:
    superuser = admin.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    if superuser == (False,):
        admin.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(OWNER)))
    admin.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(OWNER)))
    # For the schema that archived periods move to.
    admin.execute(
        sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(sql.Identifier(admin.info.dbname), sql.Identifier(OWNER))
    )
    for role in (OWNER, APP, API):
        admin.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                sql.Identifier(admin.info.dbname), sql.Identifier(role)
            )
        )


def _upgrade(admin_url: str, revision: str) -> None:
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(admin_url), poolclass=NullPool)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.connect() as connection:
        connection.execute(text(f"SET ROLE {OWNER}"))
        connection.commit()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()
