"""Consume Ledgerline's events: verified, each exactly once, without gaps."""

from ledgerline_sdk.chain import ChainError as ChainError
from ledgerline_sdk.chain import verify_chain as verify_chain
from ledgerline_sdk.consumer import Receipt as Receipt
from ledgerline_sdk.consumer import SignatureError as SignatureError
from ledgerline_sdk.consumer import WebhookConsumer as WebhookConsumer
from ledgerline_sdk.mirror import ObjectMirror as ObjectMirror
from ledgerline_sdk.source import EventSource as EventSource
from ledgerline_sdk.store import CursorStore as CursorStore
from ledgerline_sdk.store import SqliteCursorStore as SqliteCursorStore
