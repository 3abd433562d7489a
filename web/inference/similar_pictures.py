"""Similar pictures of the lake: the embedder on this machine, and the index of embeddings."""

import threading
import time
from dataclasses import dataclass

from conf.errors import HubError
from conf.settings import Settings
from lake.table import Table
from organize.features import network_file
from organize.features.embedder import embedder_of
from organize.features.network import Network
from organize.features.vectors import Vectors
from organize.index.vector_index import VectorIndex
from web.data.browse import samples
from web.data.mirror import Mirror
from web.problems.problem import Problem

_SPARE = 20  # images that are searched beside those asked for: erased ones are still in the index
_KEPT_SECONDS = 5.0  # of an index, at least, before it is brought up to date


@dataclass(frozen=True)
class SimilarPicture:
    """A picture of the lake; `similarity` is the cosine of both embeddings, 1 for the same."""

    image_id: str
    label: str | None
    upload_id: str | None
    similarity: float


class SimilarPictures:
    """Searches pictures. One search at a time: an interpreter is not safe to share, and uses a core.

    Args:
        settings: of the hub.
        mirror: the copies; they say when there are new embeddings, and which image still exists.
    """

    def __init__(self, settings: Settings, mirror: Mirror) -> None:
        self._settings, self._mirror = settings, mirror
        self._lock = threading.Lock()
        self._network: Network | None = None
        self._index: VectorIndex | None = None
        self._opened, self._version = 0.0, -2

    def of_picture(self, jpeg: bytes, count: int) -> list[SimilarPicture]:
        """The pictures that are most similar to one that the hub has encoded.

        Raises:
            Problem: 404, there are no embeddings yet; 422, the picture cannot be read.
        """
        with self._lock:
            index = self._newest_index()
            vector = self._embedder().embed_encoded([jpeg])[0]
            if vector is None:
                raise Problem(422, "the picture cannot be decoded", "undecodable")
            return self._search(index, vector[None], count, "")

    def of_image(self, image_id: str, count: int) -> list[SimilarPicture]:
        """The pictures that are most similar to one of the lake, which is left out.

        Raises:
            Problem: 404, there are no embeddings yet, or none of this image.
        """
        with self._lock:
            index = self._newest_index()
            found, vectors = index.vectors_of([image_id])
            if not found:
                raise Problem(404, f"image {image_id[:80]!r} has no embedding yet", "no_embedding")
            return self._search(index, vectors[:1], count, image_id)

    def _search(self, index: VectorIndex, vector: Vectors, count: int, without: str) -> list[SimilarPicture]:
        ids, cosines = index.search(vector, count + 1 + _SPARE)
        scores = {name: float(score) for name, score in zip(ids[0].tolist(), cosines[0], strict=True) if name}
        scores.pop(without, None)
        rows = samples.by_ids(self._mirror, list(scores))
        return [
            SimilarPicture(name, rows[name]["label"], rows[name]["upload_id"], round(score, 4))
            for name, score in scores.items()
            if name in rows
        ][:count]

    def _embedder(self) -> Network:
        if self._network is None:
            file = network_file.get_or_create(self._settings, embedder_of(self._settings))
            self._network = Network(file.read(), file.side)
        return self._network

    def _newest_index(self) -> VectorIndex:
        version = self._mirror.version(Table.EMBEDDINGS)
        stale = version != self._version and time.monotonic() - self._opened > _KEPT_SECONDS
        if self._index is None or stale:
            try:
                model_id = embedder_of(self._settings).model_id
                self._index = VectorIndex.open(None, self._settings, model_id)
            except HubError as error:
                raise Problem(503, str(error), "no_index", retry_after=30) from None
            self._opened, self._version = time.monotonic(), version
        if not len(self._index):
            raise Problem(
                404, "no picture has an embedding: `hub organize --once` makes them", "no_embedding"
            )
        return self._index
