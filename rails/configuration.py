"""Which rails are switched on: a TOML file with one line for each.

    psp_one = { url = "https://api.psp.example", api_key_file = "/etc/ledgerline/psp_one.key" }

The name is the entry point of an installed package; what stands in the braces is that package's to read. A
secret is named by the file it is in, never written here.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path

RailConfiguration = Mapping[str, str]


def read_configurations(path: Path) -> dict[str, RailConfiguration]:
    """Return what each switched-on rail is configured with, by name; none if there is no such file.

    Raises:
        ValueError: the file is not TOML, or a line is not a table of strings. Not retryable.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    for name, configuration in document.items():
        if not isinstance(configuration, dict):
            raise ValueError(f'{path}: {name} needs a table, as in {name} = {{ url = "https://…" }}')
        for key, value in configuration.items():
            if not isinstance(value, str):
                raise ValueError(f"{path}: {name}.{key} is not a string; put quotes around it")
    return document


def required(rail: str, configuration: RailConfiguration, key: str) -> str:
    """Return one configured value.

    Raises:
        ValueError: it is missing. Not retryable.
    """
    value = configuration.get(key)
    if not value:
        raise ValueError(f"the rail {rail} needs `{key}` in its line of rails.toml")
    return value


def secret_of(rail: str, configuration: RailConfiguration, key: str) -> str:
    """Return the content of the file that `key` names, without the white space around it.

    Raises:
        ValueError: it is not named, cannot be read or is empty. Not retryable.
    """
    path = Path(required(rail, configuration, key)).expanduser()
    try:
        secret = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the rail {rail} cannot read its `{key}`: {path}: {error}") from error
    if not secret:
        raise ValueError(f"the rail {rail} has an empty `{key}`: {path}")
    return secret


def moves_real_money(rail: str, configuration: RailConfiguration) -> bool:
    """Tell whether a line switches a rail on for live mode (`mode = "live"`); without a word it is for test mode.

    Raises:
        ValueError: `mode` is neither `test` nor `live`. Not retryable.
    """
    mode = configuration.get("mode", "test")
    if mode not in ("test", "live"):
        raise ValueError(f"the rail {rail} has a `mode` that is neither test nor live")
    return mode == "live"


def address_of(rail: str, configuration: RailConfiguration) -> str:
    """Return the line's `url`; real money and its credentials only travel encrypted.

    Raises:
        ValueError: it is missing, or plain http in live mode. Not retryable.
    """
    url = required(rail, configuration, "url")
    if moves_real_money(rail, configuration) and not url.startswith("https://"):
        raise ValueError(f"the rail {rail} is switched on for live mode, so its `url` begins with https://")
    return url
