"""All rails this process can use, by name.

Decides where adapters come from: the sandbox's are built in, others are installed packages that
offer an entry point in the group `ledgerline.rails` and have a configuration.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points

from domain.rail import Flow
from rails.adapter import RailAdapter, RailProfile
from rails.adapters.sandbox.adapter import SandboxRailAdapter
from rails.adapters.sandbox.profiles import SANDBOX_PROFILES
from rails.configuration import RailConfiguration
from rails.exchange import open_client

ENTRY_POINT_GROUP = "ledgerline.rails"

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

        Live money never goes to a rail of the sandbox.
        """
        return tuple(
            profile
            for profile in self.all_profiles()
            if flow in profile.flows
            and not (live and profile.sandbox)
            and profile.takes(currency, amount_minor, brand)
            and (destination_type is None or destination_type in profile.payout_destinations)
        )

    async def aclose(self) -> None:
        """Close every adapter's connections. Idempotent."""
        for adapter in self._adapters.values():
            await adapter.aclose()


def build_rails(*, sandbox_url: str, configurations: Mapping[str, RailConfiguration] | None = None) -> Rails:
    """Return the sandbox rails and those of every configured entry point.

    An installed package alone changes nothing: only entry points named in `configurations` load.

    Raises:
        ValueError: a configured rail is not installed, or two rails share a name. Not retryable.
    """
    client = open_client(sandbox_url)
    adapters: list[RailAdapter] = [SandboxRailAdapter(profile, client) for profile in SANDBOX_PROFILES]
    for name, configuration in (configurations or {}).items():
        found = tuple(entry_points(group=ENTRY_POINT_GROUP, name=name))
        if not found:
            known = sorted(entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)) or ["none"]
            raise ValueError(
                f"no installed package offers the rail {name} (entry points {ENTRY_POINT_GROUP}; installed: "
                f"{', '.join(known)})"
            )
        factory: RailFactory = found[0].load()
        adapters.extend(factory(configuration))
    return Rails(adapters)
