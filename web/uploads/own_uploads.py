"""A person's uploads with their status: those without a row in the ledger, and those with one."""

from collections.abc import Iterable

from web.data.keyset import MAX_LIMIT
from web.data.uploads import LedgerUpload
from web.uploads import status
from web.uploads.receipts import Receipts
from web.uploads.status import UploadStatus
from web.uploads.verdict_feed import VerdictFeed


def pending(
    receipts: Receipts, feed: VerdictFeed, user: str, device: str | None = None
) -> list[UploadStatus]:
    """Uploads that the copy of the ledger does not have yet, the newest first.

    Their verdict may be known: it comes through Kafka before the row is copied.
    """
    found = [each for each in receipts.of_user(user, MAX_LIMIT) if device in (None, each.device)]
    verdicts = [(each, feed.get(each.upload_id)) for each in found]
    return [status.of_verdict(verdict) if verdict else status.of_receipt(each) for each, verdict in verdicts]


def with_verdicts(uploads: Iterable[LedgerUpload]) -> list[UploadStatus]:
    """The status of uploads in the ledger."""
    return [status.of_verdict(each) for each in uploads]
