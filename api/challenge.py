"""The sandbox's challenge page: what a customer sees when the issuer wants to know more.

Test mode only. The address carries a token that only we can make, so no key is needed and no other
charge can be answered with it.
"""

import hmac
from html import escape
from urllib.parse import parse_qs, urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api.context import Core, CoreOf
from api.errors import Problem, not_found
from api.objects import is_identifier, read_object
from api.reading import ReadScope, Statement
from api.rendering import Document, challenge_token
from api.updating import run_update
from domain.identifiers import Mode
from domain.money import format_amount
from workflows.charge import ChargeWorkflow
from workflows.charge_messages import AuthenticateCharge

router = APIRouter(include_in_schema=False)

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors *",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:28rem;margin:4rem auto;padding:0 1rem;color:#111}"
    "button{font:inherit;padding:.6rem 1.2rem;margin:.5rem .5rem 0 0;border:1px solid #111;border-radius:.4rem;"
    "background:#fff;cursor:pointer}button.yes{background:#111;color:#fff}small{color:#666}"
)
_EVIDENCE = {"eci": "05", "version": "2.2.0", "method": "sandbox_challenge"}


@router.get("/sandbox/challenge/{charge_id}")
async def show_challenge(charge_id: str, core: CoreOf, token: str = Query(default="", max_length=200)) -> Response:
    """Show the page with its two buttons, or what became of the charge."""
    charge = await _challenged(core, charge_id, token)
    if charge["status"] != "requires_action":
        return _page(f"<p>Nothing is left to do here: the charge is <b>{escape(charge['status'])}</b>.</p>")
    amount = escape(format_amount(charge["amount"], charge["currency"]))
    return _page(
        f"<p>Do you confirm paying <b>{amount}</b>?</p>"
        '<form method="post">'
        '<button class="yes" name="result" value="success">Yes, it is me</button>'
        '<button name="result" value="failure">No, refuse</button></form>'
        f"<p><small>Sandbox bank, {escape(charge_id)}. No money moves.</small></p>"
    )


@router.post("/sandbox/challenge/{charge_id}")
async def answer_challenge(
    charge_id: str, request: Request, core: CoreOf, token: str = Query(default="", max_length=200)
) -> Response:
    """Take the customer's answer and send the customer back to the shop."""
    charge = await _challenged(core, charge_id, token)
    form = parse_qs((await request.body()).decode("utf-8", "replace"))
    result = form.get("result", [""])[0]
    if result not in ("success", "failure"):
        raise Problem(422, "result_invalid", "The result is `success` or `failure`.", param="result")
    # One answer per step: a second click finds the first one's update.
    step = f"challenge:{charge['next_action']['expires_at']}" if charge["next_action"] else "challenge:late"
    update = AuthenticateCharge(result=result, evidence=dict(_EVIDENCE))
    await run_update(core, charge["workflow_id"], ChargeWorkflow.authenticate, update, update_id=step)
    charge = await read_object(core.reads, _scope(charge), "charge", charge_id)
    if charge["return_url"]:
        joint = "&" if "?" in charge["return_url"] else "?"
        query = urlencode({"charge": charge_id, "status": charge["status"]})
        return RedirectResponse(f"{charge['return_url']}{joint}{query}", status_code=303, headers=_HEADERS)
    return _page(f"<p>Thank you. The charge is <b>{escape(charge['status'])}</b>; you may close this window.</p>")


async def _challenged(core: Core, charge_id: str, token: str) -> Document:
    """Return the charge a token is for.

    Raises:
        Problem: 404, there is no such charge in test mode or the token is not its own. Not retryable.
    """
    if not is_identifier(charge_id):
        raise not_found("challenge")
    expected = challenge_token(core.services.challenge_secret, charge_id)
    if not hmac.compare_digest(expected.encode(), token.encode()):
        raise not_found("challenge")
    statement = Statement("SELECT document, mode FROM charges WHERE id = %(id)s", {"id": charge_id})
    row = await core.reads.first(ReadScope(admin=True), statement)
    if row is None or row["mode"] != Mode.TEST.value:
        raise not_found("challenge")
    document: Document = row["document"]
    return document


def _scope(charge: Document) -> ReadScope:
    merchant_id, mode, _ = charge["workflow_id"].split("/", 2)
    return ReadScope(merchant_id=merchant_id, mode=Mode(mode))


def _page(content: str) -> Response:
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sandbox bank</title>'
        f"<style>{_STYLE}</style></head><body><h1>Sandbox bank</h1>{content}</body></html>"
    )
    return HTMLResponse(page, headers=_HEADERS)
