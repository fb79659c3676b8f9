"""The product's settings over a folder and a database that belong to this test run alone."""

import os
import tempfile

os.environ |= {
    "ENV_FILE": "",
    "DATA_DIR": tempfile.mkdtemp(prefix="nexmdm-test-"),
    "DATABASE_URL": "",
    "DEMO": "0",
    "PUBLIC_URL": "http://testserver",
}
for name in (
    "SECRET_KEY",
    "AUDIT_KEY",
    "ADMIN_PASSWORD",
    "TRUSTED_PROXIES",
    "PUSH_TRANSPORT",
    "FCM_ENDPOINT",
    "HOST",
    "PORT",
):
    os.environ.pop(name, None)

from mdm.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
