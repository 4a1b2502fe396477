"""One simulated world from seed to verdict: clients, chaos, then the audit."""

import time

from tests.e2e.instance import LedgerlineInstance
from tests.e2e.shop import Shop
from tests.simulation.chaos import Chaos
from tests.simulation.crowd import Crowd
from tests.simulation.inspection import Inspection, Verdict
from tests.simulation.stories import ACCOUNT_FUNDS_MINOR, ACCOUNTS, Teller


def simulate(instance: LedgerlineInstance, seed: int, operations: int, *, kills: int = 6) -> Verdict:
    """Run a world on an instance of its own and audit it. Call it from the main thread."""
    started = time.monotonic()
    shop = Shop(instance.sandbox["api_url"], instance.sandbox["test_key"])
    for account in ACCOUNTS:
        assert shop.post("/accounts", {"id": account, "currency": "EUR"}).status_code == 201
        funded = shop.post(f"/accounts/{account}/fund", {"amount": ACCOUNT_FUNDS_MINOR})
        assert funded.status_code == 201, funded.text
    crowd = Crowd(
        lambda: str(instance.sandbox["api_url"]), instance.sandbox["test_key"], Teller(seed, operations).tell()
    )
    for transfer in shop.every("/transfers"):
        crowd.notebook.note(transfer)
    shop.close()
    chaos = Chaos(instance, seed, crowd, kills=kills)
    crowd.start()
    chaos.run()
    verdict = Verdict(
        seed=seed,
        requests=len({answer.key for answer in crowd.notebook.answers}),
        retries=crowd.notebook.retries,
        chaos=chaos.log,
        kills=dict(chaos.kills),
        manners=dict(crowd.notebook.manners),
        findings=list(crowd.notebook.complaints),
    )
    Inspection(instance.sandbox, crowd.notebook, verdict).run()
    verdict.seconds = time.monotonic() - started
    return verdict
