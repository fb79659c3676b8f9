import pytest
from django.db import connection, transaction
from django.db.utils import IntegrityError

from deployments.models import FleetSwitch
from mdm.models import AuditEvent


@pytest.mark.django_db
def test_the_flag_is_off_after_migrating() -> None:
    assert FleetSwitch.objects.get().deployments_enabled is False


@pytest.mark.django_db
@pytest.mark.parametrize("change", ["UPDATE audit_event SET message = 'x'", "DELETE FROM audit_event"])
def test_the_audit_log_refuses_every_change(change: str) -> None:
    AuditEvent.objects.create(actor="system", action="test", subject_kind="test", message="kept")
    with (
        pytest.raises(IntegrityError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(change)
    assert AuditEvent.objects.get().message == "kept"
