"""What goes wrong while clients are busy: processes killed with -9, rails that misbehave. Seeded.

When is counted in finished requests rather than seconds, so that slow machines see the same mixture.
"""

import contextlib
import random
import time
from collections import Counter
from typing import Any

import httpx

from tests.e2e.instance import API, LOOK_SECONDS, PARTS, POSTGRES, TEMPORAL, LedgerlineInstance
from tests.simulation.crowd import Crowd

SUPERVISOR, EVERYTHING = "the supervisor", "the supervisor and all of them"
RUN_SECONDS_MAX = 900.0
FAULTS_EACH = 4
"""One fault is put in place for so many requests."""
FLOWS = ("authorize", "authorize", "capture", "refund", "payout", None)
RAILS = ("card_alpha", "card_beta", "card_gamma", "bank_instant", "payout_batch")
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "drop_before"},
    {"kind": "drop_after"},
    {"kind": "drop_after"},
    {"kind": "delay", "delay_ms": 600},
    {"kind": "delay", "delay_ms": 3_500},
    {"kind": "error500"},
    {"kind": "error500_after"},
    {"kind": "garble"},
    {"kind": "refuse"},
    {"kind": "busy"},
    {"kind": "duplicate"},
    {"kind": "duplicate"},
    {"kind": "lie_not_found"},
    {"kind": "lie_not_found"},
    {"kind": "lie_pending"},
    {"kind": "callback_late", "delay_ms": 3_000},
    {"kind": "callback_twice"},
    {"kind": "callback_lost"},
    {"kind": "callback_unconfirmed"},
    {"kind": "outage", "seconds": 1.5},
    {"kind": "slow_recovery", "seconds": 3.0},
)
KILLS = (API, API, API, POSTGRES, TEMPORAL, "Sandbox rails", SUPERVISOR, EVERYTHING)
"""Drawn from for what is killed beyond once each part."""


class Chaos:
    """Kills and faults, spread over the run. `kills`: what was killed, counted when it was dead."""

    def __init__(self, instance: LedgerlineInstance, seed: int, crowd: Crowd, *, kills: int) -> None:
        self._instance = instance
        self._dice = random.Random(seed ^ 0x5EED)
        self._crowd = crowd
        self._wanted = kills
        self.log: list[str] = []
        self.kills: Counter[str] = Counter()

    def run(self) -> None:
        """Do harm until the clients have told all their stories."""
        kills = self._choose()
        kill_at = sorted(self._dice.randrange(self._crowd.operations // 20, self._crowd.operations) for _ in kills)
        fault_at = FAULTS_EACH
        deadline = time.monotonic() + RUN_SECONDS_MAX
        while self._crowd.is_busy():
            assert time.monotonic() < deadline, f"the clients are not done: {self._crowd.notebook.done}"
            done = self._crowd.notebook.done
            while done >= fault_at:
                fault_at += FAULTS_EACH
                self._disturb_rails()
            if kills and done >= kill_at[-len(kills)]:
                self._kill(kills.pop(0), done)
            time.sleep(LOOK_SECONDS)

    def _choose(self) -> list[str]:
        """Each part once if there are that many, then as drawn."""
        first = self._dice.sample(PARTS, min(len(PARTS), self._wanted))
        return [*first, *self._dice.choices(KILLS, k=self._wanted - len(first))]

    def _kill(self, part: str, done: int) -> None:
        started = time.monotonic()
        if part == EVERYTHING:
            self._instance.kill_everything()
            self._instance.start()
        elif part == SUPERVISOR:
            self._instance.kill_supervisor()
            self._instance.start()
        else:
            self._instance.await_restart(part, self._instance.kill_part(part))
        self.kills[part] += 1
        self.log.append(f"after {done} requests killed {part}; whole again in {time.monotonic() - started:.1f} s")

    def _disturb_rails(self) -> None:
        fault = {**self._dice.choice(FAULTS), "seed": self._dice.randint(0, 2**31)}
        if "seconds" in fault:
            fault["rail"] = self._dice.choice(RAILS)
        else:
            fault |= {"flow": self._dice.choice(FLOWS), "count": self._dice.randint(1, 2)}
        with contextlib.suppress(httpx.TransportError):
            # The rails may be down this very moment; then they cannot misbehave either.
            httpx.post(f"{self._instance.sandbox['rails_url']}/faults", json=fault, timeout=5, trust_env=False)
