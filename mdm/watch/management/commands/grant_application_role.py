import re
from argparse import ArgumentParser
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction

# What only ever grows: the application may add and read, and that is all.
GROWING: Final = ("deployment_event", "audit_event", "audit_seal", "audit_cut")

_GRANTS: Final = """
REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role};
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role};
REVOKE UPDATE, DELETE, TRUNCATE ON {growing} FROM {role};
GRANT EXECUTE ON FUNCTION {schema}.cut_events(bigint, integer) TO {role};
REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM {role};
"""


class Command(BaseCommand):
    help = (
        "Lets a role run the product without owning it: it can neither change the audit log nor switch its triggers"
        " off. Run as the owner of the tables, after each migrate."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("role", help="an existing role, which must not own the tables")
        parser.add_argument(
            "--print", action="store_true", help="print the statements instead of running them"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        role = options["role"]
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$-]{0,62}", role):
            raise CommandError(f"{role!r} is no name of a role.")
        with transaction.atomic(), connection.cursor() as cursor:
            self._refuse_the_mighty(cursor, role)
            cursor.execute("SELECT quote_ident(current_schema())")
            (schema,) = cursor.fetchone() or ("public",)
            sql = _GRANTS.format(schema=schema, role=f'"{role}"', growing=", ".join(GROWING)).strip()
            if options["print"]:
                self.stdout.write(sql)
                return
            cursor.execute(sql)
        self.stdout.write(f"{role} may run the product; the audit log it can only add to.")

    def _refuse_the_mighty(self, cursor: Any, role: str) -> None:
        """Grants mean nothing to a superuser, to the owner, or to a member of the owner's role."""
        cursor.execute(
            """SELECT r.rolsuper, EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = ANY(%s::regclass[]::oid[])
                AND pg_has_role(r.oid, c.relowner, 'MEMBER')) FROM pg_roles r WHERE r.rolname = %s""",
            [list(GROWING), role],
        )
        found = cursor.fetchone()
        if found is None:
            raise CommandError(f"There is no role {role}: CREATE ROLE {role} LOGIN PASSWORD '…'.")
        if any(found):
            raise CommandError(f"{role} is a superuser or owns the tables, so that no grant could bind it.")
