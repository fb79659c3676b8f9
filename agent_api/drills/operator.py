"""The operator of a drill: the API with a token of his own, and a clock that runs out."""

import time
from collections.abc import Callable
from typing import Any, Final

import httpx

LOOK_EVERY_SEC: Final = 0.25


class Red(Exception):
    """The drill has failed; the text says what was expected and what was seen instead."""


class Operator:
    """`say` gets a line for everything worth telling. Every wait ends at the drill's own end."""

    def __init__(self, server: str, token: str, seconds: float, say: Callable[[str], None]) -> None:
        self.say = say
        self._ends = time.monotonic() + seconds
        self._http = httpx.Client(
            base_url=server, headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False
        )

    def close(self) -> None:
        self._http.close()

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._ends - time.monotonic())

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The answer. Red where the server refuses or is not there."""
        status, answer = self.ask(method, path, body, **more)
        if status >= 300:
            raise Red(f"{method} {path} was answered {status}: {answer.get('detail', answer)}")
        return answer

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        """Status and body, whatever they are. Red where no answer came."""
        try:
            response = self._http.request(method, path, json=body, **more)
            return response.status_code, response.json() if response.content else {}
        except (httpx.HTTPError, ValueError) as error:
            raise Red(f"{method} {path} got no answer: {error!r}") from error

    def until(self, what: str, look: Callable[[], Any]) -> Any:
        """What `look` found, as soon as it finds something; says how long that took. Red when time is up."""
        begun = time.monotonic()
        while not (found := look()):
            if not self.seconds_left:
                raise Red(f"waited for: {what}; it did not come in time")
            time.sleep(LOOK_EVERY_SEC)
        self.say(f"{what} (after {time.monotonic() - begun:.1f} s)")
        return found

    def check(self, what: str, holds: bool, seen: Any = "") -> None:
        if not holds:
            raise Red(f"expected: {what}; seen: {seen}")
        self.say(what)

    def deployment(self, deployment_id: int) -> Any:
        return self.call("GET", f"/v1/deployments/{deployment_id}")

    def until_status(self, deployment_id: int, status: str, reason: str | None = None) -> Any:
        """The deployment once it is there. Red as soon as it has ended elsewhere."""

        def look() -> Any:
            seen = self.deployment(deployment_id)
            if seen["status"] == status and seen["paused_reason"] == reason:
                return seen
            if seen["status"] in ("complete", "canceled", "failed"):
                raise Red(f"deployment #{deployment_id} ended as {seen['status']} instead of {status}")
            return None

        because = f" with {reason}" if reason else ""
        return self.until(f"deployment #{deployment_id} is {status}{because}", look)
