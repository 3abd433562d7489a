"""Lists of labels in flags: names or slugs."""

import pytest

from conf.errors import UsageError
from jobs.cli.label_flags import parse_labels


@pytest.mark.parametrize(
    ("text", "slugs"),
    [
        ("cat,dog", ["cat", "dog"]),
        (" Crème brûlée , creme_brulee, dog,,", ["creme_brulee", "dog"]),
        ('"Pepper,_bell___Bacterial_spot", cat', ["pepper__bell___bacterial_spot", "cat"]),
        ("001.Black_footed_Albatross", ["001_black_footed_albatross"]),
    ],
)
def test_names_become_slugs(text: str, slugs: list[str]) -> None:
    assert parse_labels(text, "omit it") == slugs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no label: omit it"),
        (" , ", "names no label: omit it"),
        ("cat,猫", "--labels 'cat,猫': '猫' has no letter a–z"),
        ('"cat', "unexpected end of data"),
    ],
)
def test_what_cannot_be_a_label_is_a_usage_error(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_labels(text, "omit it")
