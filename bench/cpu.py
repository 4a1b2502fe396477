"""CPU time by part of the system: each part is a process with everything it started."""

import contextlib
from collections.abc import Mapping

import psutil


class ProcessTree:
    """One process and its descendants, finished ones included, recognised by pid and start time."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)

    def cpu_seconds(self) -> float:
        """Return user + system CPU seconds since the start (resolution 10 ms per process).

        A finished child's time is in its parent's `children_*` once that has waited for it, as
        PostgreSQL does for its backends.

        Raises:
            psutil.NoSuchProcess: the root itself has ended. Not retryable.
        """
        if not self._root.is_running():
            raise psutil.NoSuchProcess(self._root.pid)
        total = sum(self._root.cpu_times()[:4])
        for child in self._root.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += sum(child.cpu_times()[:4])
        return float(total)


class CpuMeter:
    """CPU seconds spent since it was started, by part, and by everything else on the machine."""

    def __init__(self, parts: Mapping[str, ProcessTree]) -> None:
        self._parts = parts
        self._bench = psutil.Process()
        self._begun: dict[str, float] = {}
        self.restart()

    def restart(self) -> None:
        """Count from now."""
        self._begun = self._reading()

    def spent(self) -> tuple[dict[str, float], float]:
        """Return seconds by part, and seconds of processes that have nothing to do with this benchmark."""
        now = self._reading()
        spent = {name: max(0.0, now[name] - self._begun[name]) for name in now}
        others = spent.pop("machine") - spent.pop("bench") - sum(spent.values())
        return spent, max(0.0, others)

    def _reading(self) -> dict[str, float]:
        machine = psutil.cpu_times()
        idle = machine.idle + getattr(machine, "iowait", 0.0)
        # Guest time is already part of user time on Linux.
        guests = getattr(machine, "guest", 0.0) + getattr(machine, "guest_nice", 0.0)
        bench = self._bench.cpu_times()
        reading = {name: tree.cpu_seconds() for name, tree in self._parts.items()}
        return reading | {"machine": sum(machine) - idle - guests, "bench": bench.user + bench.system}
