"""The process `ledgerline api` with every await a crash point, forked from one that has imported everything.

Importing takes seconds, and there are hundreds of lives to be lived: each line on standard input forks a
child that serves until it dies, and its pid is written to standard output.
"""

import importlib
import os
import signal
import sys
from pathlib import Path

from embedded.processes import die_with_parent
from settings import Settings
from tests.simulation.crash_points import instrument


def main() -> None:
    """Fork a serving child for each line; the one before is dead by then."""
    instrument.install()
    serve = importlib.import_module("api.serve")
    control = Path(sys.argv[1])
    child = 0
    for _ in sys.stdin:
        if child:
            os.waitpid(child, 0)
        child = os.fork()
        if not child:
            die_with_parent(signal.SIGKILL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(2, 1)
            instrument.listen(control)
            serve.main(Settings())
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
