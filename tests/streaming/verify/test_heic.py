"""HEIC pictures are accepted if ingest.heic is set and pillow-heif is installed."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from conf import settings as configuration
from conf.errors import SettingError
from streaming.contract.rules import Rules
from streaming.contract.verdict import Reason, Rejected, RejectReason
from streaming.verify.preprocess import prepare
from tests.support import pictures
from tests.support.verdicts import differs, pixels, rejection, rules

pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")


@pytest.fixture(scope="module")
def taking() -> Rules:
    return replace(rules(), ingest=rules().ingest.model_copy(update={"heic": True}))


@pytest.fixture(scope="module")
def heic() -> bytes:
    pillow_heif.register_heif_opener()
    image = Image.fromarray(pictures.halves())
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 1, "Maker"
    return pictures.encoded(image, "HEIF", quality=95, exif=exif)


def reason(content: bytes, own: Rules) -> RejectReason | None:
    try:
        prepare(content, own)
    except Rejected as problem:
        return problem.reason
    return None


def test_heic_is_an_unsupported_format_by_default(heic: bytes) -> None:
    problem = rejection(heic)
    assert problem is not None
    assert problem.reason is Reason.UNSUPPORTED_FORMAT
    assert problem.detail == "ISO media (heic); accepted formats: jpeg, png, webp"


def test_enabled_heic_is_stored_without_metadata(heic: bytes, taking: Rules) -> None:
    prepared = prepare(heic, taking)
    assert (prepared.format, prepared.width, prepared.height) == ("heic", 96, 64)
    assert differs(pixels(prepared.jpeg), pictures.halves()) < 4
    assert b"Maker" not in prepared.jpeg


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(taking: Rules, orientation: int) -> None:
    """A HEIC has the orientation in its own box and again in EXIF."""
    pillow_heif.register_heif_opener()
    prepared = prepare(pictures.oriented(orientation, "HEIF"), taking)
    expected = np.full((64, 96, 3), (30, 90, 160))
    expected[:32, :48] = (220, 20, 20)
    assert (prepared.width, prepared.height) == (96, 64)
    assert differs(pixels(prepared.jpeg), expected) < 4


@pytest.mark.parametrize("eighth", range(1, 8))
def test_cut_at_every_eighth_is_truncated(heic: bytes, taking: Rules, eighth: int) -> None:
    assert reason(heic[: len(heic) * eighth // 8], taking) is Reason.TRUNCATED


def test_flipped_bits_and_rubbish_get_a_verdict(heic: bytes, taking: Rules) -> None:
    allowed = {None, Reason.UNDECODABLE, Reason.TRUNCATED, Reason.UNSUPPORTED_FORMAT, Reason.PIXEL_BOMB}
    allowed |= {Reason.TOO_SMALL}
    for at in range(0, len(heic), 7):
        assert reason(heic[:at] + bytes([heic[at] ^ 1 << at % 8]) + heic[at + 1 :], taking) in allowed
    assert reason(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(300), taking) is Reason.UNDECODABLE
    assert reason(heic.replace(b"ftypheic", b"ftypavif"), taking) is Reason.UNSUPPORTED_FORMAT


def test_setting_without_the_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = configuration.load()
    own = settings.model_copy(update={"ingest": settings.ingest.model_copy(update={"heic": True})})
    assert Rules.of(own).ingest.heic
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(SettingError, match=r"pip install 'deep-images-hub\[heic\]'"):
        Rules.of(own)
