"""What stays of an erased upload's id: a hash, so that a late repetition of it is still a duplicate."""

import re
from hashlib import blake2b

_BYTES = 16
_ERASED = "erased:"
_MARK = re.compile(_ERASED + "([0-9a-f]{32})")


def mark(upload_id: str) -> str:
    """What stands in the ledger in place of an id."""
    return f"{_ERASED}{digest(upload_id).hex()}"


def digest(upload_id: str) -> bytes:
    """16 bytes, the same for an id and for the mark that stands in its place."""
    erased = upload_id.startswith(_ERASED) and _MARK.fullmatch(upload_id)
    return bytes.fromhex(erased[1]) if erased else blake2b(upload_id.encode(), digest_size=_BYTES).digest()
