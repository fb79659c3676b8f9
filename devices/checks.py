"""What must be right before the product starts."""

from typing import Any

from django.core.checks import CheckMessage, Error, register

from devices import push


@register()
def push_can_work(**_: Any) -> list[CheckMessage]:
    """Errors where push is wanted and cannot work as it is set up."""
    return [Error(sentence, id="devices.E001") for sentence in push.problems()]
