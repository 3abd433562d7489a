"""Rules for verifying uploads: limits, thresholds and labels, as one value that is pickled to executors."""

from collections.abc import Mapping
from dataclasses import dataclass, field

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
        aliases: slug of another name to the label that it stands for.
        payloads: prefixes and limits for fetching pictures by reference.
        s3: the store of these pictures.
    """

    ingest: Ingest
    decoding: Decoding
    quality: Quality
    labels: frozenset[str] | None
    aliases: Mapping[str, str] = field(hash=False)
    payloads: Payloads
    s3: S3

    @classmethod
    def of(cls, settings: Settings) -> "Rules":
        """Build the rules from the settings.

        Raises:
            SettingError: the file of labels cannot be read.
        """
        return cls(
            settings.ingest,
            settings.decoding,
            settings.quality,
            closed_labels(settings.labels),
            Hierarchy.read(settings.labels.file).aliases,
            settings.payloads,
            settings.s3,
        )


def closed_labels(labels: Labels) -> frozenset[str] | None:
    """Read the slugs of the accepted labels and their aliases in closed mode; None in open mode.

    Raises:
        SettingError: the file cannot be read or contains a malformed label.
    """
    if labels.mode == "open":
        return None
    listed = Hierarchy.read(labels.file)
    return frozenset(listed.labels) | frozenset(listed.aliases)
