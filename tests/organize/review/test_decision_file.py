"""Files of decisions: what is read, and which line is wrong."""

import pytest

from lake.label_hierarchy import Hierarchy, Label
from organize.errors import BadDecision
from organize.review import decision_file
from organize.review.decisions import Kind, Wish

_LISTED = Hierarchy.of([Label("cat", None, "Cat", ("kitty",)), Label("dog", None, "Dog")])


def read(text: str, closed: bool = False) -> list[Wish]:
    return decision_file.read(text.encode(), _LISTED, closed)


def test_every_way_to_decide() -> None:
    text = (
        "\ufeffimage_id,label,suggested_label,decision\r\n"
        "a,cat,dog,keep\r\nb,cat,dog,accept\r\nc,cat,dog,\r\nd,cat,dog,None of these\r\n"
        "e,Crème brûlée,dog,relabel\r\nf,cat,dog,Kitty\r\ng,cat,dog,undo\r\n"
    )
    assert read(text) == [
        Wish("a", Kind.KEEP),
        Wish("b", Kind.RELABEL, "dog"),
        Wish("d", Kind.NONE_OF_THESE),
        Wish("e", Kind.RELABEL, "creme_brulee"),
        Wish("f", Kind.RELABEL, "cat"),
        Wish("g", Kind.UNDO),
    ]


def test_without_a_column_of_decisions_the_label_is_the_new_one() -> None:
    assert read('image_id,label\na,"Æbler, røde"\n') == [Wish("a", Kind.RELABEL, "aebler_rode")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,label\na,cat\n", "must name image_id and decision or label; it names image, label"),
        ("", "it names nothing"),
        ("image_id,label\na,cat\nb,\n", "line 3: 'relabel' needs a label in the column label"),
        ("image_id,decision\na,accept\n", "line 2: 'accept' needs a label in the column suggested_label"),
        ("image_id,decision\n,keep\n", "line 2: no image_id"),
        ("image_id,decision\na,a/b\n", "line 2: 'a/b' contains a path separator; a decision is accept"),
    ],
)
def test_a_wrong_line_is_named(text: str, message: str) -> None:
    with pytest.raises(BadDecision, match=message):
        read(text)


def test_no_text_in_utf8_is_refused() -> None:
    with pytest.raises(BadDecision, match="no CSV in UTF-8"):
        decision_file.read(b"image_id,label\na,caf\xe9\n", _LISTED, False)


def test_closed_labels_take_only_listed_ones() -> None:
    assert read("image_id,label\na,dog\n", closed=True) == [Wish("a", Kind.RELABEL, "dog")]
    with pytest.raises(BadDecision, match="line 2: 'owl', slug owl, is not in the list"):
        read("image_id,label\na,owl\n", closed=True)
