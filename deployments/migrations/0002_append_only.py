from django.db import migrations

APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log %% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER deployment_event_append_only BEFORE UPDATE OR DELETE ON deployment_event
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER deployment_event_no_truncate BEFORE TRUNCATE ON deployment_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_event_append_only BEFORE UPDATE OR DELETE ON audit_event
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_event_no_truncate BEFORE TRUNCATE ON audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
""".replace("%%", "%")
REMOVE = """
DROP TRIGGER deployment_event_append_only ON deployment_event;
DROP TRIGGER deployment_event_no_truncate ON deployment_event;
DROP TRIGGER audit_event_append_only ON audit_event;
DROP TRIGGER audit_event_no_truncate ON audit_event;
DROP FUNCTION refuse_change();
"""
# Every beat is a HOT update; tasks and attempts are rewritten a few times each.
ROOM = """
ALTER TABLE heartbeat SET (fillfactor = 70);
ALTER TABLE deployment_task SET (fillfactor = 85);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("deployments", "0001_initial"),
        ("devices", "0001_initial"),
        ("mdm", "0001_initial"),
    ]
    operations = [
        migrations.RunSQL(APPEND_ONLY, REMOVE),
        migrations.RunSQL(ROOM, migrations.RunSQL.noop),
    ]
