import django.db.models.deletion
from django.db import migrations, models
from django.db.models import F, Q

# Of the deployments' log a row may go, four weeks old at least, once an anchor says in which file it lies. Nobody else
# may remove one, the tables' owner included; the other logs and the anchors themselves are append-only as before.
APPEND_ONLY = """
CREATE TRIGGER audit_cut_append_only BEFORE UPDATE OR DELETE ON audit_cut
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_cut_no_truncate BEFORE TRUNCATE ON audit_cut
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE FUNCTION refuse_uncut() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.created_at < now() - interval '28 days' AND EXISTS (SELECT FROM audit_cut c
        WHERE c.deployment_id = OLD.deployment_id AND OLD.id > c.after_id AND OLD.id <= c.last_id)
    THEN RETURN OLD; END IF;
    RAISE EXCEPTION 'the audit log %% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
DROP TRIGGER deployment_event_append_only ON deployment_event;
CREATE TRIGGER deployment_event_append_only BEFORE UPDATE OR DELETE ON deployment_event
    FOR EACH ROW EXECUTE FUNCTION refuse_uncut();
""".replace("%%", "%")
AS_BEFORE = """
DROP TRIGGER deployment_event_append_only ON deployment_event;
CREATE TRIGGER deployment_event_append_only BEFORE UPDATE OR DELETE ON deployment_event
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
DROP FUNCTION refuse_uncut();
DROP TRIGGER audit_cut_append_only ON audit_cut;
DROP TRIGGER audit_cut_no_truncate ON audit_cut;
"""
# The application's own role may not delete; it may call this, which runs as the tables' owner and ends where a seal
# ends. Its search path is fixed, so that no table of the caller's takes the place of ours.
CUT = """
CREATE FUNCTION cut_events(anchor bigint, most integer) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    c audit_cut;
    upto bigint;
    gone bigint;
BEGIN
    SELECT * INTO STRICT c FROM audit_cut WHERE number = anchor;
    SELECT min(s.last_id) INTO upto FROM audit_seal s WHERE s.stream = 'deployment_event' AND s.last_id >= (
        SELECT max(id) FROM (SELECT e.id FROM deployment_event e WHERE e.deployment_id = c.deployment_id
            AND e.id > c.after_id AND e.id <= c.last_id ORDER BY e.id LIMIT most) batch);
    DELETE FROM deployment_event e
        WHERE e.deployment_id = c.deployment_id AND e.id > c.after_id AND e.id <= least(upto, c.last_id)
            AND upto IS NOT NULL;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END $$;
REVOKE ALL ON FUNCTION cut_events(bigint, integer) FROM PUBLIC;
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION cut_events(bigint, integer) SET search_path = %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION refuse_uncut() SET search_path = %I, pg_temp', current_schema());
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("watch", "0003_deliveries"),
        ("deployments", "0009_shared_numbers_by_name"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditCut",
            fields=[
                ("number", models.BigIntegerField(primary_key=True, serialize=False)),
                ("after_id", models.BigIntegerField()),
                ("last_id", models.BigIntegerField()),
                ("rows", models.PositiveIntegerField()),
                ("file", models.CharField(max_length=200)),
                ("size_bytes", models.BigIntegerField()),
                ("sha256", models.CharField(max_length=64)),
                ("seal_number", models.BigIntegerField()),
                ("seal_mac", models.CharField(max_length=64)),
                ("cut_at", models.DateTimeField()),
                ("key_id", models.CharField(max_length=8)),
                ("mac", models.CharField(max_length=64)),
                (
                    "deployment",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="deployments.deployment",
                    ),
                ),
            ],
            options={
                "db_table": "audit_cut",
                "ordering": ["-number"],
                "constraints": [
                    models.UniqueConstraint(fields=("deployment", "last_id"), name="audit_cut_once"),
                    models.CheckConstraint(condition=Q(last_id__gt=F("after_id")), name="audit_cut_ahead"),
                ],
            },
        ),
        migrations.RunSQL(APPEND_ONLY, AS_BEFORE),
        migrations.RunSQL(CUT, "DROP FUNCTION cut_events(bigint, integer)"),
    ]
