"""Adapter for USDC on an EVM chain: payouts as token transfers from one hot wallet."""
