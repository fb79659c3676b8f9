"""Receivers: what happens to packages and devices changes live deployments in the same transaction."""
