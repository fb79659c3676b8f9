"""What every page of the admin says while an alert is open."""

from collections.abc import Mapping
from typing import Any, Final

from django import template

from mdm.admin_site import person
from mdm.watch import alerts
from mdm.watch.models import AlertState

register = template.Library()

SHOWN: Final = 3


@register.inclusion_tag("nx/_alerts.html", takes_context=True)
def alert_banner(context: Mapping[str, Any]) -> dict[str, Any]:
    """The newest open alerts in words, and how many there are. Acknowledged ones are somebody's already."""
    request = context.get("request")
    # No user, too, on a request refused before anybody was looked up, such as one for a foreign host.
    user = getattr(request, "user", None)
    if request is None or user is None or not user.is_staff or not person(request).may("watch.view_alert"):
        return {}
    found = list(alerts.unresolved().filter(state=AlertState.OPEN).reverse()[: SHOWN + 1])
    may_acknowledge = person(request).may("watch.acknowledge_alert")
    return {"alerts": found[:SHOWN], "more": len(found) > SHOWN, "may_acknowledge": may_acknowledge}
