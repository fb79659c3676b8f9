"""What others must do in the same transaction when something may no longer be installed.

`version_withdrawn`: `version`, `actor`, `reason`. `package_unmanaged`: `apk`, `actor`. `withdrawal_begins` comes
before the version's row is touched, for those who have locks to take first.
"""

from typing import Final

from django.dispatch import Signal

version_withdrawn: Final = Signal()
package_unmanaged: Final = Signal()
withdrawal_begins: Final = Signal()
