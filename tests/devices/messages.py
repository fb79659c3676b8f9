"""Messages to devices, for the tests of push."""

from devices import push
from devices.push import PushMessage, PushResult


def message(token: str, reference: int = 0, data: dict[str, str] | None = None, ttl: int = 60) -> PushMessage:
    return PushMessage(token, data or {"action": "deploy_apk"}, ttl, "com.nexmdm", reference)


def send_one(token: str = "device") -> PushResult:
    [result] = push.send([message(token)])
    return result
