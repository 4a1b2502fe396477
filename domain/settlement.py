"""The settlement of a charge: the rail's word, by file, statement or notice, that its money is final."""

from dataclasses import dataclass
from datetime import datetime

from domain.identifiers import Mode
from domain.money import check_amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What a rail settled of one charge; amounts in minor units of `currency`.

    `reference` names the line at the rail: the same one twice counts once. `gross_minor`: all that was
    captured. `rail_fee_minor`: what the rail keeps of it (negative: a rebate), None where it doesn't say.
    `fee_minor`: what the merchant pays in the end, where reconciliation knows better than the plan.
    """

    charge_id: str
    merchant_id: str
    mode: Mode
    rail: str
    reference: str
    gross_minor: int
    currency: str
    rail_fee_minor: int | None = None
    fee_minor: int | None = None
    settled_at: datetime | None = None

    def __post_init__(self) -> None:
        check_amount(self.gross_minor)
        assert self.fee_minor is None or self.fee_minor >= 0
        assert self.rail_fee_minor is None or abs(self.rail_fee_minor) <= self.gross_minor
