"""Decisions, data and words: values and the clock in, verdict or sentence out. No query, no table."""
