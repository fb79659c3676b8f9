"""The anchors of what was cut out of the log: a chain of their own, signed with the key of the seals."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from mdm.watch.models import AuditCut
from mdm.watch.seal_head import Head
from mdm.watch.seal_text import DEPLOYMENTS, FIRST, Link
from mdm.watch.sealing_keys import all_keys


@dataclass
class Anchors:
    """Those that hold, by deployment; one that does not covers nothing. Memory grows with their number."""

    of: dict[int, list[AuditCut]] = field(default_factory=lambda: defaultdict(list))
    faults: list[str] = field(default_factory=list)

    @classmethod
    def read(cls) -> "Anchors":
        found, keys, number, mac = cls(), {key.id: key for key in all_keys()}, 0, ""
        for cut in AuditCut.objects.order_by("number").iterator():
            number += 1
            if cut.number != number:
                found.faults.append(f"anchor {number} of a cut is missing")
                number = cut.number
            key = keys.get(cut.key_id)
            if key is None:
                found.faults.append(f"{cut} was signed with another key ({cut.key_id}); name it in AUDIT_KEY")
            elif key.mac(cut.text(mac)) != cut.mac:
                found.faults.append(f"{cut} was changed or forged, or the one before it")
            else:
                found._add(cut)
            mac = cut.mac
        return found

    def _add(self, cut: AuditCut) -> None:
        before = self.of[cut.deployment_id]
        if cut.after_id != (before[-1].last_id if before else FIRST):
            self.faults.append(f"{cut} does not begin where the one before it ended")
        before.append(cut)

    def cover(self, link: Link, part: str) -> bool:
        """Whether the rows of that part of a seal may be gone."""
        if link.stream != DEPLOYMENTS.table or not part.isdecimal():
            return False
        cuts = self.of.get(int(part), ())
        return any(cut.after_id < link.last_id <= cut.last_id for cut in cuts)

    def heads(self) -> Iterator[Head]:
        """The seals that they were made over, which must be there."""
        for cuts in self.of.values():
            yield from (Head(cut.seal_number, cut.seal_mac) for cut in cuts)
