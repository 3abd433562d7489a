"""Answers are kept until a table that they read changes, and no longer."""

from conf.settings import Settings
from lake.table import Table
from tests.web import lakes
from web.data.browse import samples
from web.data.browse.samples import PictureFilter
from web.data.mirror import Mirror
from web.data.versioned import kept_by_version


def test_an_answer_is_kept_until_its_table_changes(filled: Settings, mirror: Mirror) -> None:
    asked: list[str] = []

    @kept_by_version
    def uploads(mirror: Mirror, verdict: str) -> int:
        asked.append(verdict)
        return len(mirror.rows("SELECT 1 FROM uploads WHERE verdict = ?", [verdict]))

    assert [uploads(mirror, "accepted"), uploads(mirror, "accepted")] == [30, 30]
    assert uploads(mirror, "rejected") == 3
    assert asked == ["accepted", "rejected"]
    lakes.append(filled, Table.UPLOADS, [lakes.upload_row(40)])
    mirror.refresh()
    assert (uploads(mirror, "accepted"), len(asked)) == (31, 3)


def test_counts_forget_a_user_who_is_being_erased_at_once(mirror: Mirror) -> None:
    before = samples.count(mirror, None, PictureFilter())
    mirror.hide("user-3", True)
    assert samples.count(mirror, None, PictureFilter()) < before
