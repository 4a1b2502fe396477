"""Connector for card acquirers that speak ISO 8583 over TCP."""
