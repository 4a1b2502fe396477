"""Adapter for the rails of the sandbox process."""
