"""The published contract as files. After a change that is meant: `python -m tests.contracts.published`."""

import json
import os
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def documents() -> dict[str, dict[str, Any]]:
    """File name to OpenAPI document as the doors serve it now."""
    from agent_api.openapi import document
    from mdm.api import api

    return {
        "operators.json": json.loads(json.dumps(api.get_openapi_schema(path_prefix="/v1/"))),
        "agents.json": json.loads(json.dumps(document())),
    }


def write() -> None:
    for name, found in documents().items():
        (HERE / name).write_text(json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    write()
