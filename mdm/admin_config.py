from django.contrib.admin.apps import AdminConfig


class FleetAdminConfig(AdminConfig):
    """Django's admin with our way to sign in."""

    default_site = "mdm.sign_in.FleetAdminSite"
