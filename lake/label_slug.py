"""Labels as people write them, and the slugs that the hub stores for them. Imports no Spark.

The rule, the same in every place where a label enters the hub:

1. NFKC, without blanks at both ends. Control characters, unreadable characters and `/` or `\\` are refused.
2. Accents are removed, letters become lower case, and letters such as ß and ø become ss and o.
3. Each run of characters other than a–z, 0–9, `_` and `-` becomes one `_`. The slug begins with a letter or
   digit: what comes before it is removed. A slug without a letter or digit is refused.
4. A slug of more than 64 characters is cut and ends with a hash of the whole slug. Step 3 loses letters and
   digits of other scripts. If there are any, the slug ends with a hash of the name: α-helix and β-helix are
   two labels.
"""

import re
import unicodedata
from functools import lru_cache
from hashlib import sha256

from lake.errors import BadLabel

SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_LENGTH = 64
_HASH_DIGITS = 8
_OTHERS = re.compile(r"[^a-z0-9_-]+")
# Lower-case letters of Latin alphabets that Unicode does not decompose into a letter and an accent.
_LETTERS = str.maketrans({
    "ß": "ss", "æ": "ae", "œ": "oe", "ĳ": "ij", "þ": "th", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h",
    "ı": "i", "ȷ": "j", "ŋ": "n", "ŧ": "t", "ƀ": "b", "ɓ": "b", "ɖ": "d", "ɗ": "d", "ǝ": "e", "ə": "e",
    "ɛ": "e", "ƒ": "f", "ɠ": "g", "ɣ": "g", "ɨ": "i", "ƙ": "k", "ĸ": "k", "ɔ": "o", "ɵ": "o", "ʋ": "v",
    "ƴ": "y", "ƶ": "z", "ʒ": "z",
})  # fmt: skip
# Control characters, line and paragraph separators, and marks that change the direction of text.
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
_UNREADABLE = re.compile(r"[\ufffd\ud800-\udfff]")
_SHOWN = 80


@lru_cache(maxsize=1 << 14)
def label_slug(name: str) -> str:
    """The slug of a label; a slug is its own slug.

    Raises:
        BadLabel: no slug can be made of the name.
    """
    text = unicodedata.normalize("NFKC", name).strip()
    if problem := _problem(text):
        raise BadLabel(f"{_quoted(name)} {problem}")
    folded = _without_accents(text).lower().translate(_LETTERS)
    slug = _OTHERS.sub("_", folded).lstrip("_-")
    lost = [char for char in folded if char.isalnum() and not char.isascii()]
    if not slug:
        if lost:
            raise BadLabel(f"{_quoted(name)} has no letter a–z and no digit; write it in these letters")
        raise BadLabel(f"{_quoted(name)} has no letter and no digit" if text else f"{_quoted(name)} is empty")
    if not lost and len(slug) <= _LENGTH:
        return slug
    digest = sha256((" ".join(text.lower().split()) if lost else slug).encode()).hexdigest()[:_HASH_DIGITS]
    return f"{slug[: _LENGTH - 1 - _HASH_DIGITS].rstrip('_-')}_{digest}"


def written_name(name: str) -> str:
    """A label as it was written: composed characters (NFC), without blanks at both ends."""
    return unicodedata.normalize("NFC", name).strip()


def _problem(text: str) -> str | None:
    if CONTROLS.search(text):
        return "contains a control character"
    if _UNREADABLE.search(text):
        return "contains characters that cannot be read"
    return "contains a path separator" if "/" in text or "\\" in text else None


def _without_accents(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFKD", text) if unicodedata.category(char) != "Mn")


def _quoted(name: str) -> str:
    text = repr(name)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
