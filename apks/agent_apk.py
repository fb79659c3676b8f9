"""The agent as an APK, where `make agent` has built it here: unsigned, because the key is an instance's own."""

from pathlib import Path
from typing import Final

from django.conf import settings

from apks.dummy_apk import SigningKey, signed

PACKAGE: Final = "com.nexmdm"
_BUILT: Final = "android-agent/app/target/nexmdm-{}-unsigned.apk"


def demo_key() -> SigningKey:
    """What this instance signs demo APKs with. A real fleet's key is its owner's, and nowhere near the server."""
    return SigningKey.kept_in(Path(settings.DATA_DIR) / "dummy_signer.pem", "Dummy APKs")


def agent_apk(version_code: int, key: SigningKey) -> bytes | None:
    """The agent of that version, signed with `key`; None where it was not built."""
    built = Path(settings.BASE_DIR) / _BUILT.format(version_code)
    return signed(built.read_bytes(), key) if built.exists() else None
