"""Contact sheet of duplicate groups: the best copy first, each with its relation and rank."""

from pathlib import Path

from conf.errors import UsageError
from conf.settings import Settings
from models.evaluation.contact_sheet import INK, TRUE, Line, Section, Tile, draw_sheet
from organize.duplicates import listing
from organize.duplicates.listing import Group, Listing, Member

MAX_TILES = 12  # of a group


def write(file: Path, settings: Settings, found: Listing) -> None:
    """Write the contact sheet of groups as a PNG.

    Raises:
        UsageError: the file cannot be written.
        StorageError: the lake cannot be read.
    """
    image_ids = [m.ranked.copy.image_id for group in found.groups for m in group.members[:MAX_TILES]]
    pictures = listing.thumbnails(settings, image_ids)
    sections = [_section(group, pictures) for group in found.groups]
    subtitle = f"{found.size}, the largest first"
    try:
        file.write_bytes(draw_sheet("near duplicates", subtitle, sections))
    except OSError as error:
        raise UsageError(f"--sheet {file}: cannot be written: {error.strerror or error}") from None


def _section(group: Group, pictures: dict[str, bytes]) -> Section:
    left = len(group.members) - MAX_TILES
    more = f", {left} more" if left > 0 else ""
    labels = ", ".join(sorted({member.label for member in group.members if member.label}))
    heading = f"{group.group_id}   {len(group.members)} images of {labels or 'no label'}{more}"
    return Section(heading, [_tile(member, pictures) for member in group.members[:MAX_TILES]])


def _tile(member: Member, pictures: dict[str, bytes]) -> Tile:
    copy = member.ranked.copy
    ink = TRUE if member.ranked.rank == 1 else INK
    first = Line(member.relation or "–", f"{member.ranked.rank}  ", ink=ink)
    second = Line(member.ranked.why)
    return Tile(pictures.get(copy.image_id), (first, second))
