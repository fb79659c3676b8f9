"""Android's rule for the name of an app (AOSP `FrameworkParsingPackageUtils.validateName`)."""

import re
from typing import Final

MAX_LENGTH: Final = 223
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+", re.ASCII)


def is_package_name(name: str) -> bool:
    """Two or more parts of letters, digits and _, each beginning with a letter; at most 223 characters."""
    return len(name) <= MAX_LENGTH and _NAME.fullmatch(name) is not None
