"""People before our pages, and addresses of the pages."""

from django.contrib.auth.models import Group, User
from django.test import Client

from deployments.models import Deployment

GROUPS = ("viewer", "operator", "fleet admin")


def someone(group: str = "") -> User:
    """A person who may enter the admin, in that group."""
    user = User.objects.create_user(group.replace(" ", "-") or "nobody", is_staff=True)
    if group:
        user.groups.add(Group.objects.get(name=group))
    return user


def signed_in(group: str = "") -> Client:
    client = Client()
    client.force_login(someone(group))
    return client


def address(deployment: Deployment, page: str = "details/") -> str:
    return f"/admin/deployments/deployment/{deployment.pk}/{page}"
