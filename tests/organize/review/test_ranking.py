"""The most doubtful samples come first, once per group, and no label fills the page."""

from organize.review.ranking import Doubtful, most_doubtful


def doubtful(number: int, label: str, quality: float | None, group: str = "") -> Doubtful:
    return Doubtful(f"i{number:03}", label, "owl", quality, "why", group or f"g{number}")


def test_one_of_each_group_and_the_most_doubtful_first() -> None:
    samples = [
        doubtful(1, "cat", 0.3, "same"),
        doubtful(2, "cat", 0.1, "same"),
        doubtful(3, "dog", 0.2),
        doubtful(4, "dog", None),
    ]
    assert [each.image_id for each in most_doubtful(samples, 10)] == ["i004", "i002", "i003"]


def test_a_label_that_is_doubted_as_a_whole_leaves_room_for_others() -> None:
    cats = [doubtful(number, "cat", 0.001 * number) for number in range(50)]
    dogs = [doubtful(100 + number, "dog", 0.5) for number in range(8)]
    chosen = [each.label for each in most_doubtful(cats + dogs, 20)]
    assert chosen == ["cat"] * 15 + ["dog"] * 5
    assert [each.label for each in most_doubtful(cats + dogs[:2], 20)] == ["cat"] * 18 + ["dog"] * 2


def test_nothing_doubtful_is_nothing() -> None:
    assert most_doubtful([], 5) == []
