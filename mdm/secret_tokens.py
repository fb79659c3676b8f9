"""Tokens of API users, devices and enrolments: 256 random bits, of which only the SHA-256 is kept."""

import hashlib
import secrets


def make(prefix: str) -> tuple[str, str]:
    """A new token and its digest. The prefix tells a person, or a scanner of leaks, what it is."""
    text = f"{prefix}_{secrets.token_urlsafe(32)}"
    return text, digest(text)


def digest(text: str) -> str:
    """64 hex digits. No salt or stretching: the token itself is random and long."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
