"""What uploads are held to: limits, thresholds and labels, as one value that travels to executors."""

from dataclasses import dataclass
from importlib.util import find_spec

from conf.errors import SettingError
from conf.sections import S3, Decoding, Ingest, Labels, Payloads, Quality
from conf.settings import Settings
from lake.label_hierarchy import Hierarchy
from streaming.contract.record import LABEL


@dataclass(frozen=True)
class Rules:
    """Settings of the verification and preparation of one upload.

    Args:
        ingest: limits and sizes.
        decoding: which function decodes, and what it may take.
        quality: thresholds of the flags.
        labels: the labels that are taken, or None for any well-formed one.
        payloads: where pictures that travel as a reference may be fetched from.
        s3: the store they lie in.
    """

    ingest: Ingest
    decoding: Decoding
    quality: Quality
    labels: frozenset[str] | None
    payloads: Payloads
    s3: S3

    @classmethod
    def of(cls, settings: Settings) -> "Rules":
        """The rules that the settings state.

        Raises:
            SettingError: labels are closed and their file cannot be read, or HEIC is to be taken and the
                package that decodes it is not there.
        """
        if settings.ingest.heic and find_spec("pillow_heif") is None:
            raise SettingError(
                "ingest.heic = true: the package pillow-heif is not installed; type: "
                "pip install 'deep-images-hub[heic]' (on every executor, too)"
            )
        labels = closed_labels(settings.labels)
        return cls(
            settings.ingest, settings.decoding, settings.quality, labels, settings.payloads, settings.s3
        )


def closed_labels(labels: Labels) -> frozenset[str] | None:
    """The labels of the file in closed mode, None in open mode.

    Raises:
        SettingError: the file cannot be read or holds a malformed label.
    """
    if labels.mode == "open":
        return None
    found = frozenset(Hierarchy.read(labels.file).labels)
    for label in found:
        if not LABEL.fullmatch(label):
            where = f"labels.file = {str(labels.file)!r}"
            raise SettingError(f"{where}: {label!r} does not match {LABEL.pattern}")
    return found
