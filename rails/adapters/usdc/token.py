"""What is signed and what is read back: transfers of an ERC-20 token, by the libraries of the Ethereum Foundation.

Pure but for the private key held here. Amounts are the token's smallest units, which for USDC (6 decimals)
are the ledger's minor units.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eth_abi.abi import encode
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.abi import event_signature_to_log_topic, function_signature_to_4byte_selector
from eth_utils.address import is_checksum_address, is_hex_address, to_checksum_address

# A library of these raises the interpreter's limit to 100,000 as it is imported, which is more than the C stack holds:
# deeply nested input would then end the process instead of being refused.
sys.setrecursionlimit(1000)

TRANSFER = function_signature_to_4byte_selector("transfer(address,uint256)")
BALANCE_OF = function_signature_to_4byte_selector("balanceOf(address)")
TRANSFERRED = "0x" + event_signature_to_log_topic("Transfer(address,address,uint256)").hex()
ZERO_ADDRESS = "0x" + "00" * 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Fees:
    """What a transaction pays at most, per unit of gas, in wei; `priority_wei` of it goes to the block's maker."""

    max_wei: int
    priority_wei: int

    def __post_init__(self) -> None:
        assert 0 <= self.priority_wei <= self.max_wei

    def raised(self, suggested: "Fees", ceiling_wei: int) -> "Fees | None":
        """Return fees a node takes in place of these, or None where the ceiling forbids it.

        Both parts rise by an eighth at least (nodes want a tenth), or to what is suggested now if that is more.
        10 wei become 12 where 11 are suggested.
        """
        maximum = max(self.max_wei + self.max_wei // 8 + 1, suggested.max_wei)
        priority = max(self.priority_wei + self.priority_wei // 8 + 1, suggested.priority_wei)
        if maximum > ceiling_wei:
            return None
        return Fees(max_wei=maximum, priority_wei=min(priority, maximum))


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTransfer:
    """One signed transaction: `raw` is what is broadcast, `hash` how the chain names it (0x, lower case)."""

    hash: str
    raw: bytes
    nonce: int
    fees: Fees


@dataclass(frozen=True, slots=True)
class Wallet:
    """The hot wallet of one rail. It must be nobody else's: its nonces are counted here."""

    _account: LocalAccount = field(repr=False)

    @property
    def address(self) -> str:
        """The wallet's address, checksummed."""
        return str(self._account.address)

    def sign(
        self, *, chain_id: int, token: str, to: str, amount: int, nonce: int, gas: int, fees: Fees
    ) -> SignedTransfer:
        """Return a signed token transfer. Deterministic: the same terms give the same transaction."""
        assert amount > 0 and nonce >= 0
        signed = self._account.sign_transaction(
            {
                "type": 2,
                "chainId": chain_id,
                "nonce": nonce,
                "to": to_checksum_address(token),
                "value": 0,
                "gas": gas,
                "maxFeePerGas": fees.max_wei,
                "maxPriorityFeePerGas": fees.priority_wei,
                "data": bytes.fromhex(transfer_call(to, amount)[2:]),
            }
        )
        return SignedTransfer(
            hash="0x" + bytes(signed.hash).hex(), raw=bytes(signed.raw_transaction), nonce=nonce, fees=fees
        )


def wallet_of(private_key: str) -> Wallet:
    """Return the wallet of a private key in hex.

    Raises:
        ValueError: it is no private key; the message does not repeat it. Not retryable.
    """
    try:
        return Wallet(Account.from_key(private_key))
    except Exception:
        raise ValueError("the wallet's key file does not hold a private key in hex") from None


def payable_address(text: str | None) -> str | None:
    """Return an address money may be sent to, checksummed; None for anything else.

    Mixed case must be a valid checksum: a mistyped address is not paid.
    """
    if not text or not is_hex_address(text) or not text.startswith("0x"):
        return None
    mixed = text[2:] not in (text[2:].lower(), text[2:].upper())
    if (mixed and not is_checksum_address(text)) or text.lower() == ZERO_ADDRESS:
        return None
    return str(to_checksum_address(text))


def transfer_call(to: str, amount: int) -> str:
    """Return the call data of `transfer(to, amount)`."""
    return "0x" + (TRANSFER + encode(["address", "uint256"], [to, amount])).hex()


def balance_call(owner: str) -> str:
    """Return the call data of `balanceOf(owner)`."""
    return "0x" + (BALANCE_OF + encode(["address"], [owner])).hex()


def moved(receipt: Mapping[str, Any], *, token: str, source: str, to: str) -> int:
    """Return how much a mined transaction moved from `source` to `to`, by the token's own log. 0 for nothing."""
    total = 0
    for log in receipt["logs"]:
        topics = log["topics"]
        if log["address"].lower() != token.lower() or len(topics) != 3 or topics[0] != TRANSFERRED:
            continue
        if (topics[1][-40:].lower(), topics[2][-40:].lower()) == (source[2:].lower(), to[2:].lower()):
            total += int(log["data"], 16)
    return total
