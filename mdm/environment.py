"""What the environment must say before anything starts. Each refusal is one sentence."""

import ipaddress
import re
from typing import NoReturn
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_public_url(url: str, *, production: bool) -> str:
    """`url` without a slash at its end; plain http only for this machine once the database is a real one."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        refuse(f"PUBLIC_URL must look like https://mdm.example.com, not {url!r}.")
    if production and parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        refuse("PUBLIC_URL must be https: agents and operators send secrets to it.")
    return url.rstrip("/")


def checked_fcm_endpoint(url: str) -> str:
    """Empty = Google's. Anything else must be this machine: push tokens go nowhere else."""
    if url and not is_loopback(urlsplit(url).hostname or ""):
        refuse("FCM_ENDPOINT may only be a loopback address; leave it empty for Google's.")
    return url


def checked_download_url(url: str) -> str:
    """Where a new device fetches the agent; empty = not told. Its setup wizard believes what it gets from there."""
    parts = urlsplit(url)
    encrypted = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    if url and not (encrypted and parts.hostname):
        refuse(f"AGENT_DOWNLOAD_URL must be an https address, not {url!r}.")
    return url


def checked_sha256(name: str, text: str) -> str:
    """64 hex digits in lower case, empty where nothing is given; `AB:CD:…`, as keytool writes it, is taken as well."""
    digits = text.replace(":", "").lower()
    if digits and not re.fullmatch("[0-9a-f]{64}", digits):
        refuse(f"{name} must be a SHA-256 of 64 hex digits, not {text!r}.")
    return digits


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """`value`, if it is one of `allowed`."""
    if value not in allowed:
        refuse(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
    return value


def whole_number(name: str, text: str, least: int) -> int:
    """The number that `text` writes, not below `least`."""
    if not text.isascii() or not text.lstrip("+").isdigit() or int(text) < least:
        refuse(f"{name} must be a whole number of at least {least}, not {text!r}.")
    return int(text)


def decimal_number(name: str, text: str) -> float:
    """The positive number that `text` writes."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number < 1e9:
        refuse(f"{name} must be a positive number, not {text!r}.")
    return number


def checked_webhook(url: str) -> str:
    """Empty = none; else an address that can be called."""
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.hostname or parts.username):
        refuse(f"ALERT_WEBHOOK_URL must look like https://alerts.example.com/in, not {url!r}.")
    return url


def networks(name: str, values: list[str]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Addresses and CIDR ranges."""
    try:
        return [ipaddress.ip_network(value.strip(), strict=False) for value in values]
    except ValueError as error:
        refuse(f"{name} must be addresses or ranges such as 10.0.0.0/8: {error}.")


def refuse(sentence: str) -> NoReturn:
    raise ImproperlyConfigured(sentence)
