#!/usr/bin/env python
"""Django's command line; what cannot work says so in one sentence instead of a traceback."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db.utils import OperationalError


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mdm.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"manage.py: {error}")
    except OperationalError as error:
        sys.exit(f"manage.py: The database failed; is the instance running? {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
