"""The customer's step: a challenge to be passed within its time (semantics rule 13)."""

from dataclasses import replace

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.charge import ChargeStatus, charge_document
    from domain.rail import DeclineClass
    from domain.timestamps import rfc3339
    from workflows import charge_states, policies
    from workflows.charge_messages import AuthenticateCharge
    from workflows.charge_writer import ChargeWriter
    from workflows.update_answer import UpdateAnswer, key_conflict


class Challenge:
    """What is known of the customer's authentication; at most one challenge a charge."""

    def __init__(self, url: str, authentication: dict[str, str] | None = None) -> None:
        """`authentication`: the merchant's own 3DS server has authenticated the customer without a challenge."""
        self._url = url
        self.authentication = authentication

    async def passed(self, writer: ChargeWriter) -> bool:
        """Wait for the customer's authentication; True on success, else the charge is declined."""
        expires_at = rfc3339(workflow.now() + policies.CHALLENGE_EXPIRY)
        assert expires_at is not None
        action = {"type": "redirect", "url": self._url, "expires_at": expires_at}
        waiting = replace(writer.charge, status=ChargeStatus.REQUIRES_ACTION, next_action=action)
        await writer.commit(waiting, event="charge.requires_action", attempts=waiting.attempts[-1:])
        try:
            await workflow.wait_condition(lambda: self.authentication is not None, timeout=policies.CHALLENGE_EXPIRY)
        except TimeoutError:
            async with writer.lock:
                if self.authentication is None:
                    await writer.decline("authentication_timeout", DeclineClass.SCA_REQUIRED)
                    return False
        assert self.authentication is not None
        if self.authentication["result"] == "success":
            return True
        await writer.decline("authentication_failed", DeclineClass.SCA_REQUIRED)
        return False

    async def take_answer(self, writer: ChargeWriter, request: AuthenticateCharge) -> UpdateAnswer:
        """Take the result of the customer's step and answer with what came of the charge."""
        async with writer.lock:
            if writer.charge.status is not ChargeStatus.REQUIRES_ACTION:
                return charge_states.conflict_answer(writer.charge, "no customer's step is awaited")
            authentication = {**request.evidence, "result": request.result}
            back = replace(
                writer.charge, status=ChargeStatus.PROCESSING, next_action=None, authentication=authentication
            )
            taken, _ = await writer.claim(back, request.claim, actor=request.actor)
            if taken:
                return key_conflict()
            self.authentication = authentication
        await workflow.wait_condition(lambda: writer.charge.status is not ChargeStatus.PROCESSING)
        return UpdateAnswer(document=charge_document(writer.charge))
