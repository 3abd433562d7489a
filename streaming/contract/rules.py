"""Rules for verifying uploads: limits, thresholds and labels, as one value that is pickled to executors."""

from dataclasses import dataclass

from conf.sections import S3, Decoding, Ingest, Labels, Payloads, Quality
from conf.settings import Settings
from lake.label_hierarchy import Hierarchy


@dataclass(frozen=True)
class Rules:
    """Settings that verify and prepare an upload.

    Args:
        ingest: limits and sizes.
        decoding: the decoder function and its limits.
        quality: thresholds of the flags.
        labels: slugs of the accepted labels, or None to accept any well-formed label.
        payloads: prefixes and limits for fetching pictures by reference.
        s3: the store of these pictures.
    """

    ingest: Ingest
    decoding: Decoding
    quality: Quality
    labels: frozenset[str] | None
    payloads: Payloads
    s3: S3

    @classmethod
    def of(cls, settings: Settings) -> "Rules":
        """Build the rules from the settings.

        Raises:
            SettingError: labels are closed and their file cannot be read.
        """
        labels = closed_labels(settings.labels)
        return cls(
            settings.ingest, settings.decoding, settings.quality, labels, settings.payloads, settings.s3
        )


def closed_labels(labels: Labels) -> frozenset[str] | None:
    """Read the slugs of the accepted labels from their file in closed mode; None in open mode.

    Raises:
        SettingError: the file cannot be read or contains a malformed label.
    """
    if labels.mode == "open":
        return None
    return frozenset(Hierarchy.read(labels.file).labels)
