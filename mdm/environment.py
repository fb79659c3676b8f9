"""What the environment must say before anything starts. Each refusal is one sentence."""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

MOST: Final = 2**31 - 1
YES: Final = frozenset({"1", "true", "yes", "on"})
DATABASE_EXAMPLE: Final = "postgres://user:password@host:5432/name"
EMAIL_EXAMPLE: Final = "smtp+tls://user:password@host:587"
NO: Final = frozenset({"0", "false", "no", "off"})


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def in_url(host: str) -> str:
    """As a host stands in an address: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def checked_public_url(url: str, *, production: bool) -> str:
    """`url` without a slash at its end; plain http only for this machine once the database is a real one."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        refuse(f"PUBLIC_URL must look like https://mdm.example.com, not {url!r}.")
    if production and parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        refuse("PUBLIC_URL must be https: agents and operators send secrets to it.")
    return url.rstrip("/")


def read_url(name: str, example: str, url: str, read: Callable[[str], Any]) -> dict[str, Any]:
    """What `read` makes of the address. Whatever it raises or lacks, people are told which setting is wrong."""
    try:
        return dict(read(url))
    except (ImproperlyConfigured, KeyError, ValueError):
        refuse(f"{name} must look like {example}.")  # not what it is: it may hold a password


def checked_database_url(url: str) -> str:
    """PostgreSQL, with the name of a database."""
    if not re.match(r"(postgres|postgresql|psql|pgsql)://[^/]*/[^/]", url):
        refuse(f"DATABASE_URL must look like {DATABASE_EXAMPLE}.")
    return url


def checked_env_file(path: Path) -> Path:
    """A file that was asked for by name is there."""
    if not path.is_file():
        refuse(f"ENV_FILE names {path}, and there is no such file.")
    return path


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


def whole_number(name: str, text: str, least: int, most: int = MOST) -> int:
    """The number that `text` writes, not below `least` nor above `most`."""
    if not re.fullmatch("[0-9]{1,10}", text) or not least <= int(text) <= most:
        bounds = f"of at least {least}" if most == MOST else f"from {least} to {most}"
        refuse(f"{name} must be a whole number {bounds}, not {text!r}.")
    return int(text)


def yes_or_no(name: str, text: str) -> bool:
    """What `text` says in one of the usual ways."""
    if text.lower() not in YES | NO:
        refuse(f"{name} must be 1 or 0, not {text!r}.")
    return text.lower() in YES


def zero_or(name: str, value: int, least: int) -> int:
    """`value`, if it is 0 or not below `least`."""
    if value and value < least:
        refuse(f"{name} must be 0 or at least {least}, not {value}.")
    return value


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
