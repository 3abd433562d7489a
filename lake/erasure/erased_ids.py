"""Hashed ids of erased uploads and images.

The ledger still recognises a repeated upload as a duplicate, and an image that is uploaded again its split.
"""

import re
from hashlib import blake2b

_DIGEST_BYTES = 16
_PREFIX = "erased:"
_ERASED_ID = re.compile(_PREFIX + "([0-9a-f]{32})")


def erased_id(upload_id: str) -> str:
    """The text that replaces an upload id in the ledger: `erased:` and the id's digest (hex)."""
    return f"{_PREFIX}{digest(upload_id).hex()}"


def split_key(image_id: str) -> str:
    """A hash (hex) under which the split of an erased image is kept; unlike that of an upload id."""
    return blake2b(f"split:{image_id}".encode(), digest_size=_DIGEST_BYTES).hexdigest()


def digest(upload_id: str) -> bytes:
    """A digest of 16 bytes, equal for an upload id and for its `erased_id`."""
    erased = upload_id.startswith(_PREFIX) and _ERASED_ID.fullmatch(upload_id)
    return (
        bytes.fromhex(erased[1])
        if erased
        else blake2b(upload_id.encode(), digest_size=_DIGEST_BYTES).digest()
    )
