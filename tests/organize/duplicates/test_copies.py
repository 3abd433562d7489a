from organize.duplicates.copies import Copy, rank


def test_the_largest_copy_is_best_and_smaller_ones_say_so() -> None:
    copies = [Copy("b", 250, 188, 900.0, ()), Copy("a", 500, 375, 100.0, ("dark",))]
    first, second = rank(copies)
    assert (first.copy.image_id, first.rank, first.why) == ("a", 1, "largest (500×375), but dark")
    assert (second.copy.image_id, second.rank, second.why) == ("b", 2, "smaller (250×188)")


def test_of_equal_sizes_the_sharpest_is_best_and_then_that_with_fewest_flags() -> None:
    copies = [
        Copy("a", 100, 100, 50.0, ()),
        Copy("b", 100, 100, 200.0, ("dark",)),
        Copy("c", 100, 100, 200.0, ()),
    ]
    ranked = rank(copies)
    assert [each.copy.image_id for each in ranked] == ["c", "b", "a"]
    assert [each.why for each in ranked] == ["sharpest of this size", "dark", "less sharp (50 of 200)"]


def test_equal_copies_are_ordered_by_id() -> None:
    ranked = rank([Copy("b", 9, 9, 1.0, ()), Copy("a", 9, 9, 1.0, ())])
    assert [(each.copy.image_id, each.why) for each in ranked] == [
        ("a", "equal to another, first by id"),
        ("b", "equal to the best"),
    ]


def test_a_group_may_have_pictures_of_unknown_size() -> None:
    assert [each.why for each in rank([Copy("a", 0, 0, None, ())])] == ["the only copy (unknown size)"]
    assert rank([]) == []
