"""How sure a share is: the interval to show beside an observed rate."""

import math

Z_95 = 1.959964


def wilson_interval(successes: int, trials: int, *, z: float = Z_95) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson's score interval); (0, 1) of nothing.

    90 of 100: 0.826 to 0.945.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference (1927).
    """
    assert 0 <= successes <= trials
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    middle = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
