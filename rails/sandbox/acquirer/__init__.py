"""A card acquirer of the sandbox that speaks ISO 8583 over TCP, as a process of its own."""
