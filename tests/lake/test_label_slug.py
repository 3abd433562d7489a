"""The rule for slugs, and what it refuses."""

import random
import re
import unicodedata

import pytest

from lake.errors import BadLabel
from lake.label_slug import SLUG, label_slug, written_name


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("cat", "cat"),
        ("Apple Red 1", "apple_red_1"),
        ("  Black \u3000 Cat\n", "black_cat"),
        ("jack-o'-lantern", "jack-o_-lantern"),
        ("001.Black_footed_Albatross", "001_black_footed_albatross"),
        ("Pepper,_bell___Bacterial_spot", "pepper__bell___bacterial_spot"),
        ("Corn_(maize)___Common_rust_", "corn__maize____common_rust_"),
        ("Crème brûlée", "creme_brulee"),
        ("Cre\u0300me bru\u0302le\u0301e", "creme_brulee"),  # decomposed, as macOS writes file names
        ("Straße", "strasse"),
        ("Smørrebrød", "smorrebrod"),
        ("Łódź", "lodz"),
        ("İstanbul", "istanbul"),
        ("ﬁsh", "fish"),
        ("７", "7"),
        ("-rf", "rf"),
        ("__init__", "init__"),
        ("#1 🐈!", "1_"),
        ("cat\u200bfish", "cat_fish"),
    ],
)
def test_slug_of_a_name(name: str, slug: str) -> None:
    assert label_slug(name) == slug


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("...", "no letter and no digit"),
        ("🐈", "no letter and no digit"),
        ("кот", "no letter a–z and no digit"),
        ("猫", "no letter a–z and no digit"),
        ("ไทย", "no letter a–z and no digit"),
        ("עברית", "no letter a–z and no digit"),
        ("٣", "no letter a–z and no digit"),
        ("a/b", "path separator"),
        ("a\\b", "path separator"),
        ("AC／DC", "path separator"),  # full width, as NFKC makes it a slash
        ("two\nlines", "control character"),
        ("a\tb", "control character"),
        ("nul\0inside", "control character"),
        ("ca\u202et", "control character"),
        ("k\ufffdfer", "cannot be read"),
        ("k\udce4fer", "cannot be read"),
    ],
)
def test_name_without_a_slug_is_refused_with_its_reason(name: str, why: str) -> None:
    with pytest.raises(BadLabel, match=why) as caught:
        label_slug(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_every_label_that_older_hubs_accepted_keeps_its_slug() -> None:
    drawn, kept = random.Random(22), 0
    for _ in range(20_000):
        name = "".join(drawn.choices("abZ09_- \u00a0ＡｂK", k=drawn.randrange(1, 70)))
        old = "_".join(unicodedata.normalize("NFKC", name).strip().lower().split())
        if SLUG.fullmatch(old):
            kept += 1
            assert label_slug(name) == old
    assert kept > 2000


def test_a_slug_is_its_own_slug_and_fits_the_pattern() -> None:
    names = [
        "Crème brûlée",
        "x" * 200,
        "кот 1",
        "α-helix",
        "Corn_(maize)___Common_rust_",
        "é" * 64,
        "猫" * 90 + "a",
    ]
    for name in names:
        slug = label_slug(name)
        assert re.fullmatch("[a-z0-9][a-z0-9_-]{0,63}", slug)
        assert label_slug(slug) == slug


def test_long_names_stay_different_and_their_case_does_not_matter() -> None:
    name = "00000_Animalia_Annelida_Clitellata_Haplotaxida_Lumbricidae_Lumbricus_"
    first, second = label_slug(name + "terrestris"), label_slug(name + "rubellus")
    assert first != second
    assert first[:55] == second[:55] == name.lower()[:55]
    assert label_slug((name + "terrestris").upper()) == first
    assert label_slug("x" * 64) == "x" * 64


def test_names_that_differ_in_letters_of_another_script_stay_different() -> None:
    slugs = {label_slug(name) for name in ("α-helix", "β-helix", "кот 1", "пёс 1", "1", "helix")}
    assert len(slugs) == 6
    assert label_slug("КОТ 1") == label_slug("кот\u00a01")


def test_written_name_is_kept_but_for_blanks_at_its_ends() -> None:
    assert written_name(" Cre\u0300me  brûlée, 2\n") == "Crème  brûlée, 2"
