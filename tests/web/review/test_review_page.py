"""The page of doubtful labels is whole in one file, escapes what people wrote, and its CSV is read back."""

import re
from datetime import UTC, datetime

from lake.label_hierarchy import Hierarchy
from organize.review import decision_file
from organize.review.decisions import Kind, Wish
from organize.review.ranking import Doubtful
from tests.support import pictures
from web.review import review_page

_DOUBTFUL = [
    Doubtful("a" * 64, "cat", "dog", 0.02, "a probe: dog 92%, cat 2%", "g1"),
    Doubtful("b" * 64, "owl", None, None, 'uploaded as <script>alert("owl")</script>', "g2"),
]
_NAMES = {"cat": "Cat", "dog": "Dog & Puppy", "owl": "Owl"}


def page() -> str:
    jpeg = {"a" * 64: pictures.jpeg(seed=1)}
    return review_page.render(_DOUBTFUL, jpeg, _NAMES, 17, datetime(2026, 11, 26, 18, 0, tzinfo=UTC))


def test_page_needs_no_other_file_and_escapes_what_people_wrote() -> None:
    html = page()
    assert not re.findall(r"(?:src|href)=\"(?!data:)[^\"]+\"|https?://|@import|url\(", html)
    assert '<script>alert("owl")' not in html and "&lt;script&gt;alert" in html
    assert "Dog &amp; Puppy" in html
    assert "2 of 17 doubtful pictures" in html and "2026-11-26 18:00 UTC" in html


def test_each_picture_has_its_choices() -> None:
    items = page().split("<li ")[1:]
    assert len(items) == 2
    assert "data:image/jpeg;base64," in items[0] and "no picture" in items[1]
    choices = [re.findall(r'type="radio" name="d\d" value="(\w+)"', item) for item in items]
    assert choices == [["accept", "keep", "none_of_these"], ["keep", "none_of_these"]]
    assert all(word in decision_file.WORDS for each in choices for word in each)


def test_nothing_doubtful_is_said() -> None:
    html = review_page.render([], {}, {}, 0)
    assert "No label is doubted." in html and "<button" not in html


def test_csv_is_read_back_once_its_decisions_are_filled_in() -> None:
    text = review_page.to_csv(_DOUBTFUL)
    empty = Hierarchy({})
    assert decision_file.read(text.encode(), empty, False) == []
    filled = text.replace('cat 2%",\n', 'cat 2%",accept\n').rstrip("\n") + "none of these\n"
    assert decision_file.read(filled.encode(), empty, False) == [
        Wish("a" * 64, Kind.RELABEL, "dog"),
        Wish("b" * 64, Kind.NONE_OF_THESE),
    ]
