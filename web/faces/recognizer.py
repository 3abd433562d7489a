"""Recognizes faces: finds them, and compares them with those of a model's dataset and with each other."""

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conf.errors import HubError
from conf.settings import Settings
from lake.errors import StorageError
from lake.pictures import pixels
from lake.pictures.pixels import RGB
from lake.snapshot import DatasetSnapshot
from lake.storage import Storage
from models.evaluation.artifacts import METRICS
from models.registry import model_cards
from models.registry.model_cards import ModelCard
from streaming.contract.rules import Rules
from web.data.mirror import Mirror
from web.faces import gallery
from web.faces.detector import Detector
from web.faces.face import Face, crop
from web.faces.gallery import Gallery, Identity, squared_distances
from web.inference.safe_pictures import SafePictures
from web.inference.tflite_models import TfliteModels
from web.problems.problem import Problem

OFF = (
    "faces are off, because measurements of faces are biometric data: who runs this hub turns them on with "
    "`enabled = true` below [faces] in conf/hub.toml, or HUB__FACES__ENABLED=true"
)
NO_MODEL = (
    "there is no model for faces yet: `hub train --dataset ID --objective triplet` makes one of pictures "
    "whose labels are people"
)
_SMALLEST_STORED = 20  # pixels; of faces in stored pictures, which were scaled down
_KEPT_GALLERIES = 2
_WAIT_SECONDS = 5.0  # of a request for the faces of a dataset


@dataclass(frozen=True)
class SeenFace:
    """A face in a picture, with its vector and the nearest identities."""

    face: Face
    vector: NDArray[np.float32]
    identities: tuple[Identity, ...] = ()


@dataclass(frozen=True)
class SeenPicture:
    """A picture as the hub has encoded it; its faces, the largest first; and how many these compare with."""

    jpeg: bytes
    width: int
    height: int
    faces: tuple[SeenFace, ...]
    compared_with: int = 0


class Recognizer:
    """Finds and compares faces. Networks are loaded once for each thread that asks.

    Args:
        settings: of the hub.
        mirror: says which pictures of a dataset still exist, and what their labels are.
    """

    def __init__(self, settings: Settings, mirror: Mirror) -> None:
        self._settings, self._mirror = settings, mirror
        self._side = max(settings.faces.longest_side, settings.ingest.longest_side)
        ingest = settings.ingest.model_copy(update={"longest_side": self._side})
        self._pictures = SafePictures(Rules.of(settings.model_copy(update={"ingest": ingest})))
        self._models = TfliteModels(
            settings, "triplet", "predicts labels; faces need one that was trained with --objective triplet"
        )
        self._local = threading.local()
        self._builder = ThreadPoolExecutor(1, "faces")
        self._galleries: dict[str, Future[Gallery]] = {}
        self._looked_at = 0
        self._closing = threading.Event()

    def card(self, model_id: str | None) -> ModelCard:
        """The card of the model that is asked for, else of that in the settings, else of the newest one.

        Raises:
            Problem: 403, faces are off; 404, there is no such model; 409, it cannot be used.
        """
        if not self._settings.faces.enabled:
            raise Problem(403, OFF, "faces_off")
        chosen = model_id or self._settings.faces.model or next(iter(self._models.ready()), None)
        if chosen is None:
            raise Problem(404, NO_MODEL, "no_model")
        return self._models.load(chosen).card

    def models(self) -> list[str]:
        """Ids of the models that can compare faces, the newest first."""
        return self._models.ready()

    def threshold(self, card: ModelCard) -> float | None:
        """Squared distance below which two pictures count as the same label; chosen on validation pairs."""
        with suppress(StorageError, ValueError):
            metrics = model_cards.artifact_storage(self._settings, card.model_id).read_json(METRICS)
            found = metrics.get("verification_threshold")
            return found if isinstance(found, float) else None
        return None

    async def gallery(self, card: ModelCard) -> None:
        """Wait until the faces of a model's dataset can be compared with; the first request starts the work.

        Raises:
            Problem: 503 with Retry-After, it takes longer; 409, the dataset cannot be used.
        """
        future = self._galleries.get(card.model_id)
        if future is None:
            while len(self._galleries) >= _KEPT_GALLERIES:
                self._galleries.pop(next(iter(self._galleries)))
            future = self._galleries[card.model_id] = self._builder.submit(self._build, card)
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), _WAIT_SECONDS)
        except TimeoutError:
            raise Problem(
                503,
                f"the faces of the dataset of {card.model_id} are being measured, {self._looked_at:,} "
                "pictures so far: ask again",
                "measuring", retry_after=5,
            ) from None  # fmt: skip
        except HubError as error:
            raise Problem(409, str(error), "unusable_dataset") from None
        finally:
            if future.done() and not future.cancelled() and future.exception() is not None:
                self._galleries.pop(card.model_id, None)  # the next request tries again

    def see(self, content: bytes, card: ModelCard, count: int) -> SeenPicture:
        """The faces in a picture, each with the nearest identities. After `gallery`.

        Raises:
            Problem: 422, the picture is none that the hub accepts; 503, a part of the hub cannot be started.
        """
        found, labels = self._alive(card)
        seen = self._look(content, card)
        faces = tuple(
            SeenFace(each.face, each.vector, tuple(found.nearest(each.vector, labels, count)))
            for each in seen.faces
        )
        return SeenPicture(seen.jpeg, seen.width, seen.height, faces, len(found.image_ids))

    def compare(self, contents: tuple[bytes, bytes], card: ModelCard) -> tuple[float, list[SeenPicture]]:
        """The squared distance of the largest faces of two pictures, and what was seen in each.

        Raises:
            Problem: 422, one is no picture that the hub accepts, or has no face.
        """
        pictures = []
        for name, content in zip(("first", "second"), contents, strict=True):
            try:
                seen = self._look(content, card)
            except Problem as problem:
                problem.detail = f"the {name} picture: {problem.detail}"
                raise
            if not seen.faces:
                least = self._settings.faces.smallest_face
                raise Problem(
                    422, f"the {name} picture has no face of {least} pixels or more at {seen.width} × "
                    f"{seen.height}: take it nearer, upright and in light", "no_face",
                )  # fmt: skip
            pictures.append(seen)
        first, second = (seen.faces[0].vector for seen in pictures)
        return round(float(squared_distances(first[None], second)[0]), 4), pictures

    def close(self) -> None:
        """Stop the threads and the decoder process."""
        self._closing.set()
        self._builder.shutdown(cancel_futures=True)
        self._pictures.close()

    def _alive(self, card: ModelCard) -> tuple[Gallery, dict[str, str]]:
        """The gallery without pictures that were erased, and the label that each of the others has now."""
        future = self._galleries.get(card.model_id)
        if future is None or not future.done():
            raise Problem(503, "another model was asked for meanwhile: ask again", "measuring", retry_after=5)
        known = future.result()
        rows = self._mirror.rows(
            "SELECT image_id, label FROM samples WHERE label IS NOT NULL AND image_id IN (SELECT unnest(?))",
            [list(known.image_ids)],
        )
        labels = {row["image_id"]: row["label"] for row in rows}
        alive = known.only(labels)
        if alive is not known:  # the vectors of erased pictures are forgotten, too
            kept: Future[Gallery] = Future()
            kept.set_result(alive)
            self._galleries[card.model_id] = kept
        return alive, labels

    def _build(self, card: ModelCard) -> Gallery:
        settings = self._settings
        snapshot = DatasetSnapshot.load(Storage(settings.lake.at("snapshots", card.dataset_id), settings.s3))
        return gallery.build(
            snapshot, settings.faces.gallery_pictures, lambda rgb: self._largest(rgb, card), self._report
        )

    def _report(self, pictures: int) -> None:
        self._looked_at = pictures
        if self._closing.is_set():
            raise HubError("the server stops")

    def _largest(self, rgb: RGB, card: ModelCard) -> NDArray[np.float32] | None:
        faces = self._detector().find(rgb, _SMALLEST_STORED)
        return self._embed(rgb, faces[0], card) if faces else None

    def _look(self, content: bytes, card: ModelCard) -> SeenPicture:
        jpeg = self._pictures.prepare(content).jpeg
        rgb = pixels.decode(jpeg, self._side)
        faces = self._detector().find(rgb, self._settings.faces.smallest_face)
        seen = tuple(SeenFace(face, self._embed(rgb, face, card)) for face in faces)
        return SeenPicture(jpeg, rgb.shape[1], rgb.shape[0], seen)

    def _embed(self, rgb: RGB, face: Face, card: ModelCard) -> NDArray[np.float32]:
        square = crop(rgb, face.box, self._settings.faces.margin)
        model = self._models.load(card.model_id)
        return self._models.run(model, pixels.centre_square(square, card.side))

    def _detector(self) -> Detector:
        """This thread's networks."""
        if not hasattr(self._local, "detector"):
            self._local.detector = Detector()
        found: Detector = self._local.detector
        return found
