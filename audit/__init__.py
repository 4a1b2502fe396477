"""Signing of audit records and their offline verification."""
