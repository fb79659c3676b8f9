"""Push: a message that saves a device from waiting for its next heartbeat.

It is a hint, sent after the claim was committed and never inside a transaction. Every result is a value: the
caller forgets the token, backs off or goes on. `devices.fcm` is imported where it is used, because the
Firebase SDK costs every process that loads it 0.4 s and 35 MB.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.conf import settings

BATCH = 100  # messages at once: the SDK takes a thread for each
DATA_LIMIT_BYTES = 4_000  # FCM refuses more than 4,096
IDS = ("action", "schema", "deployment_id", "device_id", "attempt")


class Outcome(StrEnum):
    """What became of a message, by what the sender has to do next."""

    DELIVERED = "delivered"  # FCM has taken it; whether the device got it only the device can say
    TOKEN_GONE = "token_gone"  # noqa: S105 - forget the token, leave the device to its heartbeat
    REJECTED = "rejected"  # sending the same again would fail again; the detail says why
    BACKOFF = "backoff"  # quota, outage or no answer: give the slot back, try later


@dataclass(frozen=True, slots=True)
class PushMessage:
    """One data message. `token` is not empty; `ttl` is in seconds: so long FCM keeps it for a sleeping
    device, at most 28 days; `reference` is the caller's own number and comes back in the result."""

    token: str
    data: Mapping[str, str]
    ttl: int
    collapse_key: str
    reference: int


@dataclass(frozen=True, slots=True)
class PushResult:
    """What became of one message. `retry_after_sec` is what the far end asked for, at most a day, else
    None."""

    reference: int
    outcome: Outcome
    retry_after_sec: int | None
    detail: str


def enabled() -> bool:
    """Whether commands are pushed at all; else they come with heartbeats."""
    return bool(settings.PUSH_TRANSPORT == "fcm")


def encode_command(command: Mapping[str, Any]) -> dict[str, str]:
    """The FCM data message of a `deploy_apk` command: text as it is, everything else (numbers, null, nested
    objects) as JSON. What FCM would find too long becomes action, schema and ids; the agent gets the rest
    by its GET. Source: the wire contract, "The command"."""
    data = {key: _text(value) for key, value in command.items()}
    return data if _size(data) <= DATA_LIMIT_BYTES else {key: data[key] for key in IDS if key in data}


def encode_stop(deployment_id: int, device_id: int, attempt: int) -> dict[str, str]:
    """The FCM data message that tells a device to stop an attempt: `{"action": "stop_deploy", "schema":
    "1", …}`.

    An addition to the wire contract that an agent may ignore: it asks before it commits and then gets a 410.
    """
    ids = {"deployment_id": deployment_id, "device_id": device_id, "attempt": attempt}
    return encode_command({"action": "stop_deploy", "schema": 1, **ids})


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _size(data: Mapping[str, str]) -> int:
    return sum(len(part.encode()) for item in data.items() for part in item)


def send(messages: Sequence[PushMessage]) -> list[PushResult]:
    """One result for each message, in their order. Never raises for what the far end or the network does.

    A batch of 100 takes about 5 s at most. Once a whole batch found nobody to take it, the others are not
    tried, so that an outage costs 5 s in all, not for every hundred devices.
    """
    from devices import fcm  # noqa: PLC0415 - see above

    results: list[PushResult] = []
    for start in range(0, len(messages), BATCH):
        batch = fcm.send_batch(messages[start : start + BATCH])
        results += batch
        if all(result.outcome is Outcome.BACKOFF for result in batch):
            break
    return results + [_not_tried(message, results) for message in messages[len(results) :]]


def _not_tried(message: PushMessage, earlier: Sequence[PushResult]) -> PushResult:
    wait = max((result.retry_after_sec or 0 for result in earlier), default=0)
    return PushResult(message.reference, Outcome.BACKOFF, wait or None, "not tried: FCM took none before it")


def problems() -> list[str]:
    """Why push cannot work as it is set up, as sentences for the person who starts the product; empty = it
    can."""
    if not enabled():
        return []
    from devices import fcm  # noqa: PLC0415 - see above

    return fcm.problems()
