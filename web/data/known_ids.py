"""Whether the ledger may have an upload id: most uploads are new, and a query for each would cost the most.

Eight bytes of each id's hash are kept, in a sorted array: 8 MB for a million uploads.
"""

import hashlib
import threading

import numpy as np
from numpy.typing import NDArray

from lake.table import Table
from web.data.mirror import Change, Mirror

_RECENT = 20_000  # hashes beside the array, before they are merged into it


class KnownIds:
    """Hashes of the upload ids in the copy of the ledger.

    Args:
        mirror: the copies; before their first refresh.
    """

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._lock = threading.Lock()
        self._sorted: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._recent: set[int] = set()
        mirror.on_change.append(self._follow)

    def may_have(self, upload_id: str) -> bool:
        """False if the copy of the ledger does not have the id; True if it probably has."""
        found = _hash(upload_id)
        with self._lock:
            if found in self._recent:
                return True
            place = int(np.searchsorted(self._sorted, np.uint64(found)))
            return place < len(self._sorted) and int(self._sorted[place]) == found

    def _follow(self, change: Change) -> None:
        if change.table is not Table.UPLOADS or not change.files:
            return
        new = self._mirror.column(
            "SELECT md5_number_lower(upload_id) AS hash FROM uploads "
            "WHERE file_id IN (SELECT unnest(?)) AND upload_id IS NOT NULL",
            [sorted(change.files)],
        ).astype(np.uint64)
        with self._lock:
            if len(new) + len(self._recent) <= _RECENT:
                self._recent.update(new.tolist())
                return
            recent = np.fromiter(self._recent, np.uint64, len(self._recent))
            self._sorted = np.sort(np.concatenate([self._sorted, recent, new]))
            self._recent = set()


def _hash(upload_id: str) -> int:
    """As DuckDB's md5_number_lower."""
    return int.from_bytes(hashlib.md5(upload_id.encode(), usedforsecurity=False).digest()[8:], "little")
