"""Verdicts in plain words: for each reason what happened, and what the person who took the picture can do."""

from dataclasses import dataclass

from conf.choices import Flag
from streaming.contract.verdict import Reason


@dataclass(frozen=True)
class Advice:
    """What a person reads about a rejected upload.

    Args:
        what: what is wrong with the picture.
        todo: what they can do about it.
    """

    what: str
    todo: str


_APP = "This is an error of the app that sent it. Send the picture with this page instead."

ADVICE: dict[Reason | Flag, Advice] = {
    Reason.MISSING_HEADER: Advice("The upload lacks information that is needed.", _APP),
    Reason.BAD_HEADER: Advice("The upload has information that cannot be read.", _APP),
    Reason.BAD_LABEL: Advice(
        "The label cannot be used.",
        "Choose a suggested label, and send it again.",
    ),
    Reason.UNKNOWN_LABEL: Advice(
        "The label is not in the list of labels.", "Choose one of the suggested labels, and send it again."
    ),
    Reason.EMPTY: Advice("The file is empty.", "Take the picture again, or choose another file."),
    Reason.TOO_LARGE: Advice(
        "The file is too large.", "Choose a smaller picture size in your camera, and take it again."
    ),
    Reason.CHECKSUM_MISMATCH: Advice("The picture was damaged on its way.", "Send it again."),
    Reason.PAYLOAD_UNREACHABLE: Advice(
        "The picture could not be fetched from where it was stored.", "Send it again with this page."
    ),
    Reason.UNSUPPORTED_FORMAT: Advice(
        "This is no picture, or in a format that is not supported.",
        "Send it as JPEG, PNG, WebP, HEIC or AVIF. A screenshot of it also works.",
    ),
    Reason.UNDECODABLE: Advice(
        "The file is damaged and cannot be opened.", "Take the picture again, or choose another file."
    ),
    Reason.TRUNCATED: Advice(
        "A part of the file is missing.",
        "Wait until your phone has saved it completely. Send it again.",
    ),
    Reason.PIXEL_BOMB: Advice(
        "The picture has too many pixels.", "Choose a smaller picture size in your camera, and take it again."
    ),
    Reason.SCAN_BOMB: Advice(
        "This is an animation, or has too many layers.",
        "Send one picture, or a screenshot of it.",
    ),
    Reason.DECODE_TIMEOUT: Advice(
        "It took too long to open the picture.",
        "Take it again in a smaller size, or send a screenshot.",
    ),
    Reason.DECODER_CRASHED: Advice(
        "The file is damaged and cannot be opened.", "Take the picture again, or send a screenshot."
    ),
    Reason.TOO_SMALL: Advice("The picture is too small.", "Send it in full size, not as a preview."),
    Reason.DUPLICATE_UPLOAD: Advice("This picture had already been sent.", "Nothing: the first one counts."),
    Flag.DARK: Advice("The picture is too dark.", "Take it again with more light."),
    Flag.BRIGHT: Advice("The picture is too bright.", "Take it again without light from behind."),
    Flag.BLURRY: Advice("The picture is blurred.", "Hold the phone still, and take it again."),
    Flag.LOW_INFORMATION: Advice("The picture shows almost nothing.", "Take it again with the object in it."),
    Flag.ODD_ASPECT: Advice("The picture is very long or very high.", "Take it again, not as a panorama."),
    Flag.ODD_SIZE: Advice("The picture has an unusual size.", "Take it again with usual camera settings."),
    Flag.GRAYSCALE: Advice("The picture has no colours.", "Take it again without a filter."),
}
"""For each reason; a test holds it complete."""


def advice(reason: str | None) -> Advice | None:
    """The advice on a rejection; None for an accepted upload, or a reason of a newer hub."""
    return ADVICE.get(_reason(reason)) if reason else None  # type: ignore[arg-type]


def _reason(text: str) -> Reason | Flag | None:
    for kind in (Reason, Flag):
        if text in set(kind):
            return kind(text)
    return None
