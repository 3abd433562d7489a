"""Contact sheet of a dataset: some pictures of each label, training pictures first."""

import io

from PIL import Image

from lake.pictures import contact_sheet
from lake.pictures.contact_sheet import COLUMNS, Tile
from lake.snapshot import DatasetSnapshot, Split

MAX_LABELS = 40


def sample_sheet(snapshot: DatasetSnapshot, title: str) -> bytes:
    """Draw the first pictures of up to 40 labels, one label a row.

    Returns:
        a JPEG, 976 pixels wide.

    Raises:
        DamagedSnapshot: a shard cannot be read.
    """
    shown = snapshot.labels[:MAX_LABELS]
    tiles = []
    for label, found in zip(shown, _first_pictures(snapshot, len(shown)), strict=True):
        tiles += [Tile(content, label) for content in found]
        tiles += [Tile(None, "")] * (COLUMNS - len(found))
    sheet = Image.open(io.BytesIO(contact_sheet.draw(title, tiles)))
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=88)  # a PNG of photographs would be ten times as large
    return file.getvalue()


def _first_pictures(snapshot: DatasetSnapshot, labels: int) -> list[list[bytes]]:
    """The first pictures of each label; reads shards only until there are enough."""
    found: list[list[bytes]] = [[] for _ in range(labels)]
    for split in Split:
        for batch in snapshot.batches(split, 0, snapshot.row_count(split)):
            for index, content in zip(batch["label"].to_pylist(), batch["jpeg"], strict=True):
                if index < labels and len(found[index]) < COLUMNS:
                    found[index].append(content.as_py())
            if all(len(pictures) == COLUMNS for pictures in found):
                return found
        if all(found):  # other splits are read only for labels without training pictures
            return found
    return found
