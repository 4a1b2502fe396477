"""What goes wrong while clients are busy: processes killed with -9, rails that misbehave. Seeded.

When is counted in finished requests rather than seconds, so that slow machines see the same mixture.
"""

import contextlib
import random
import time

import httpx

from tests.e2e.instance import API, LOOK_SECONDS, PARTS, POSTGRES, LedgerlineInstance
from tests.simulation.crowd import Crowd

SUPERVISOR, EVERYTHING = "the supervisor", "the supervisor and all of them"
RUN_SECONDS_MAX = 900.0
FLOWS = ("authorize", "authorize", "capture", "refund", "payout", None)
FAULTS = (
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
)


class Chaos:
    """Kills and faults, spread over the run."""

    def __init__(self, instance: LedgerlineInstance, seed: int, crowd: Crowd) -> None:
        self._instance = instance
        self._dice = random.Random(seed ^ 0x5EED)
        self._crowd = crowd
        self.log: list[str] = []

    def run(self) -> None:
        """Do harm until the clients have told all their stories."""
        first = self._dice.sample(PARTS, len(PARTS))
        kills = [*first, EVERYTHING, API, SUPERVISOR, POSTGRES]
        kill_at = [(number + 1) * self._crowd.operations // (len(kills) + 1) for number in range(len(kills))]
        fault_every = max(1, self._crowd.operations // 40)
        fault_at = fault_every
        deadline = time.monotonic() + RUN_SECONDS_MAX
        while self._crowd.is_busy():
            assert time.monotonic() < deadline, f"the clients are not done: {self._crowd.notebook.done}"
            done = self._crowd.notebook.done
            if done >= fault_at:
                fault_at += fault_every
                self._disturb_rails()
            if kills and done >= kill_at[-len(kills)]:
                self._kill(kills.pop(0), done)
            time.sleep(LOOK_SECONDS)

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
        self.log.append(f"after {done} requests killed {part}; whole again in {time.monotonic() - started:.1f} s")

    def _disturb_rails(self) -> None:
        fault = {
            **self._dice.choice(FAULTS),
            "flow": self._dice.choice(FLOWS),
            "count": self._dice.randint(1, 2),
            "seed": self._dice.randint(0, 2**31),
        }
        with contextlib.suppress(httpx.TransportError):
            # The rails may be down this very moment; then they cannot misbehave either.
            httpx.post(f"{self._instance.sandbox['rails_url']}/faults", json=fault, timeout=5, trust_env=False)
