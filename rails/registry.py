"""All rails this process can use, by name.

Decides where adapters come from: the sandbox's are always there, others have a line of configuration and are
either connectors of this repository or installed packages with an entry point in the group `ledgerline.rails`.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points

from domain.rail import Flow
from rails.adapter import CallbackReader, NoticeCollector, RailAdapter, RailProfile, RecordKeeper, Tended
from rails.adapters.sandbox.adapter import SandboxRailAdapter
from rails.adapters.sandbox.profiles import SANDBOX_PROFILES
from rails.configuration import RailConfiguration
from rails.exchange import open_client
from rails.records import RailRecords

ENTRY_POINT_GROUP = "ledgerline.rails"

CONNECTORS = tuple(
    EntryPoint(name=name, value=f"rails.adapters.{module}:build", group=ENTRY_POINT_GROUP)
    for name, module in (
        ("ach", "ach.adapter"),
        ("iso8583", "iso8583.adapter"),
        ("sepa_credit", "sepa.credit_transfer"),
        ("sepa_instant", "sepa.instant"),
        ("stripe", "stripe.adapter"),
        ("usdc", "usdc.adapter"),
    )
)
"""Connectors of this repository, loaded only when a line asks for them."""

RailFactory = Callable[[RailConfiguration], Iterable[RailAdapter]]
"""What an entry point loads: given its configuration, the adapters of one provider."""


class Rails:
    """The rails of one process. Adapters keep pooled connections; close once at the end."""

    def __init__(self, adapters: Iterable[RailAdapter]) -> None:
        """Raises ValueError (not retryable) when two adapters claim one name."""
        self._adapters: dict[str, RailAdapter] = {}
        for adapter in adapters:
            if adapter.profile.name in self._adapters:
                raise ValueError(f"two rail adapters are called {adapter.profile.name}")
            self._adapters[adapter.profile.name] = adapter

    def adapter(self, name: str) -> RailAdapter:
        """Return a rail's adapter.

        Raises:
            KeyError: no rail has this name. Not retryable.
        """
        return self._adapters[name]

    def profile(self, name: str) -> RailProfile:
        """Return a rail's profile.

        Raises:
            KeyError: no rail has this name. Not retryable.
        """
        return self._adapters[name].profile

    def names(self) -> tuple[str, ...]:
        """Return the names of all rails, sorted."""
        return tuple(sorted(self._adapters))

    def all_profiles(self) -> tuple[RailProfile, ...]:
        """Return every profile, sorted by name."""
        return tuple(self._adapters[name].profile for name in self.names())

    def profiles(
        self,
        flow: Flow,
        currency: str,
        destination_type: str | None = None,
        *,
        live: bool = False,
        amount_minor: int | None = None,
        brand: str | None = None,
    ) -> tuple[RailProfile, ...]:
        """Return the rails that can do this, sorted by name; for payouts, to this kind of destination.

        Live orders go to rails that move real money, test orders to those that don't, and never the other way.
        """
        return tuple(
            profile
            for profile in self.all_profiles()
            if flow in profile.flows
            and live is not profile.sandbox
            and profile.takes(currency, amount_minor, brand)
            and (destination_type is None or destination_type in profile.payout_destinations)
        )

    def callback_reader(self, name: str) -> CallbackReader:
        """Return who reads the callbacks that arrive at a rail's or a provider's address.

        Raises:
            KeyError: nobody does. Not retryable.
        """
        for adapter in self._adapters.values():
            profile = adapter.profile
            if name in (profile.name, profile.provider) and isinstance(adapter, CallbackReader):
                return adapter
        raise KeyError(name)

    def collectors(self) -> tuple[str, ...]:
        """Return the rails whose notices have to be fetched, sorted."""
        return tuple(name for name in self.names() if isinstance(self._adapters[name], NoticeCollector))

    def collector(self, name: str) -> NoticeCollector:
        """Return who fetches a rail's notices; it is one of `collectors()`."""
        adapter = self._adapters[name]
        assert isinstance(adapter, NoticeCollector)
        return adapter

    async def start(self) -> None:
        """Begin what adapters do in the background. Call it once, in the process that gives orders."""
        for adapter in self._adapters.values():
            if isinstance(adapter, Tended):
                await adapter.start()

    async def aclose(self) -> None:
        """Close every adapter's connections. Idempotent."""
        for adapter in self._adapters.values():
            await adapter.aclose()


def build_rails(
    *,
    sandbox_url: str,
    configurations: Mapping[str, RailConfiguration] | None = None,
    database_url: str | None = None,
    records: RailRecords | None = None,
    callback_secret: bytes = b"",
) -> Rails:
    """Return the sandbox rails and those of every configured line.

    An installed package alone changes nothing: only those named in `configurations` load. A line's `provider` is
    whose connector it is, by default its own name; so one provider may have several lines. Connectors that keep a
    journal of their own find it at `database_url` (role ledgerline_app); the others keep what they must not forget
    in `records`. `callback_secret` signs what the sandbox's rails call back.

    Raises:
        ValueError: a configured rail is not installed, or two rails share a name. Not retryable.
    """
    client = open_client(sandbox_url)
    adapters: list[RailAdapter] = [
        SandboxRailAdapter(profile, client, callback_secret=callback_secret) for profile in SANDBOX_PROFILES
    ]
    shared = {"database_url": database_url} if database_url else {}
    for name, configuration in (configurations or {}).items():
        factory = _factory(name, configuration.get("provider", name))
        adapters.extend(factory({"name": name, **shared, **configuration}))
    for adapter in adapters:
        if records is not None and isinstance(adapter, RecordKeeper):
            adapter.keep_records_in(records)
    return Rails(adapters)


def _factory(name: str, provider: str) -> RailFactory:
    offered = (*CONNECTORS, *entry_points(group=ENTRY_POINT_GROUP))
    for entry in offered:
        if entry.name == provider:
            factory: RailFactory = entry.load()
            return factory
    raise ValueError(
        f"no installed package offers the rail {name} (entry points {ENTRY_POINT_GROUP}; known: "
        f"{', '.join(sorted(entry.name for entry in offered))})"
    )
