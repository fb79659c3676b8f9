"""How fast and how small the product is, against a plain baseline in the same run; see README.md.

Importing it sets the settings up, over a folder of this process's own, before anything reads them.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import django

DATA_DIR = Path(tempfile.mkdtemp(prefix="nexmdm-bench-"))
atexit.register(shutil.rmtree, DATA_DIR, ignore_errors=True)
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "mdm.settings",
    "ENV_FILE": "",
    "DATA_DIR": str(DATA_DIR),
    "DATABASE_URL": "",
    "SECRET_KEY": "",
    "PUBLIC_URL": "",
    "DEMO": "0",
    "FLEET": "0",
}
django.setup()
