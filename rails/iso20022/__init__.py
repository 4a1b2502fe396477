"""ISO 20022 messages between a bank and its customer or another bank: written, read, held to their schemas."""
