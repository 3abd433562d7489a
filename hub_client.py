"""A client of the hub's HTTP API, in one module that needs httpx only.

    with HubClient("http://127.0.0.1:8420") as hub:
        sent = hub.upload(Path("cat.jpg").read_bytes(), "cat")
        print(hub.wait_for_verdict(sent.id).state)

Uploads are repeated after 429, 503 and broken connections, with the same id, so that each is stored once.
"""

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

API = "/api/v1"
_LONGEST_PAUSE = 30.0  # seconds between attempts

T = TypeVar("T")


class HubRefused(Exception):  # named by the fact
    """The hub refused a request.

    Args:
        status: HTTP status.
        code: word for programs, for example a reason of the record contract.
        detail: one sentence for people.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status, self.code, self.detail = status, code, detail


@dataclass(frozen=True)
class Stored:
    """An upload that Kafka has acknowledged; `status` is the path of its status."""

    id: str
    status: str


@dataclass(frozen=True)
class UploadStatus:
    """An upload: state is stored, accepted or rejected. Times are ISO 8601 in UTC.

    Args:
        what, todo: of a rejection, for people.
        picture: path of the stored picture; None unless accepted.
        other fields: as in the ledger.
    """

    id: str
    state: str
    label: str | None = None
    label_name: str | None = None
    device: str | None = None
    user: str | None = None
    batch: str | None = None
    reason: str | None = None
    detail: str | None = None
    flags: tuple[str, ...] = ()
    image_id: str | None = None
    event_time: str | None = None
    ingest_time: str | None = None
    what: str | None = None
    todo: str | None = None
    picture: str | None = None


@dataclass(frozen=True)
class Page:
    """A page of a list; `next` is the key of the page after it, None at the end."""

    items: list[dict[str, Any]]
    next: str | None


@dataclass(frozen=True)
class Prediction:
    """What a model says about a picture: labels with probabilities, the most probable first."""

    model_id: str
    labels: list[tuple[str, float]]


@dataclass(frozen=True)
class Box:
    """A rectangle in a picture as the hub has encoded it, in pixels from the top left corner."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Face:
    """A face: confidence 0–1, and the nearest labels with their squared distances, 0–4."""

    box: Box
    confidence: float
    identities: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Faces:
    """The faces in a picture, the largest first.

    Args:
        threshold: distance below which two pictures count as the same person; None if it was not measured.
        compared_with: pictures of the model's dataset that have a face.
        width, height: of the encoded picture (pixels).
    """

    model_id: str
    threshold: float | None
    compared_with: int
    width: int
    height: int
    faces: tuple[Face, ...]


@dataclass(frozen=True)
class ComparedFace:
    """The face of a picture that was compared, its largest one, and how many faces the picture has."""

    box: Box
    confidence: float
    faces: int


@dataclass(frozen=True)
class Comparison:
    """The squared distance of two faces, 0–4; `same`: below the threshold; None if there is none."""

    model_id: str
    distance: float
    threshold: float | None
    same: bool | None
    first: ComparedFace
    second: ComparedFace


@dataclass(frozen=True)
class Training:
    """A training: queued, running, done, failed or cancelled; `before` others are before it in the queue."""

    id: str
    state: str
    asked: str
    before: int
    model_id: str | None = None
    started: str | None = None
    ended: str | None = None
    detail: str = ""
    messages: tuple[str, ...] = ()


class HubClient:
    """Speaks to one hub.

    Args:
        url: of the hub, such as https://hub.example.org.
        key: API key; None for a hub that is open on this machine.
        timeout: of one request (seconds).
        verify: check certificates; or the path of a file with the authority's.
    """

    def __init__(
        self, url: str, key: str | None = None, timeout: float = 30.0, verify: bool | str = True
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, verify=verify)

    def __enter__(self) -> "HubClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def upload(
        self,
        content: bytes,
        label: str,
        *,
        upload_id: str | None = None,
        media_type: str = "application/octet-stream",
        time: datetime | None = None,
        seconds: float = 60.0,
        **attributes: str,
    ) -> Stored:
        """Send a picture, and repeat it until Kafka has acknowledged it.

        Args:
            content: the picture, as the camera made it.
            label: what it shows, as people write it.
            upload_id: unique for the upload; None makes one.
            media_type: of the content; not trusted.
            time: when it was sent; None: now.
            seconds: how long it is repeated.
            attributes: device, batch, geo, sha256 or user.

        Raises:
            HubRefused: it cannot be taken, or not within the time.
            httpx.TransportError: the hub cannot be reached within the time.
        """
        sent = (time or datetime.now(UTC)).isoformat()
        query = attributes | {"label": label, "id": upload_id or str(uuid.uuid4()), "time": sent}
        headers = {"Content-Type": media_type}
        answer = self._repeat(
            lambda: self._http.post(f"{API}/uploads", params=query, content=content, headers=headers), seconds
        )
        return _make(Stored, answer.json())

    def status(self, upload_id: str) -> UploadStatus:
        """What became of an upload."""
        return _make(UploadStatus, self._get(f"/uploads/{upload_id}").json())

    def wait_for_verdict(self, upload_id: str, seconds: float = 60.0) -> UploadStatus:
        """Wait until an upload is accepted or rejected.

        Raises:
            TimeoutError: it was neither within the time.
        """
        deadline, pause = time.monotonic() + seconds, 0.1
        while True:
            found = self.status(upload_id)
            if found.state != "stored":
                return found
            if time.monotonic() > deadline:
                raise TimeoutError(f"upload {upload_id} has no verdict after {seconds:g} s")
            time.sleep(pause)
            pause = min(2.0, pause * 1.5)

    def verdicts(
        self, device: str | None = None, last: str | None = None
    ) -> Iterator[tuple[str, UploadStatus]]:
        """Verdicts as they come, until the hub ends the connection.

        Args:
            device: only of this device.
            last: the place of the last verdict that was read; those after it come first.

        Yields:
            a place, and a verdict. After a break, the last ones may come again.
        """
        query = {} if device is None else {"device": device}
        headers = {} if last is None else {"Last-Event-ID": last}
        timeout = httpx.Timeout(30.0, read=None)
        with self._http.stream(
            "GET", f"{API}/uploads/verdicts", params=query, headers=headers, timeout=timeout
        ) as answer:
            if answer.status_code != 200:
                answer.read()
                raise _refusal(answer)
            for event in _events(answer.iter_lines()):
                if event.get("event") == "verdict":
                    yield event.get("id", ""), _make(UploadStatus, json.loads(event["data"]))

    def picture(self, upload_id: str, size: str = "jpeg") -> bytes:
        """The stored picture of an accepted upload (JPEG), or with size `thumbnail` a small one."""
        return self._get(f"/uploads/{upload_id}/picture", {"size": size}).content

    def page(self, name: str, limit: int = 50, after: str | None = None, **filters: str) -> Page:
        """A page of uploads, labels, batches, samples, datasets or models."""
        query: dict[str, Any] = dict(filters) | {"limit": limit}
        if after is not None:
            query["after"] = after
        found = self._get(f"/{name}", query).json()
        return Page(found["items"], found["next"])

    def all(self, name: str, **filters: str) -> Iterator[dict[str, Any]]:
        """All rows of a list, page by page."""
        after: str | None = None
        while True:
            found = self.page(name, 200, after, **filters)
            yield from found.items
            after = found.next
            if after is None:
                return

    def predict(self, content: bytes, model: str | None = None) -> Prediction:
        """The labels that a model gives a picture; None: the model in use."""
        query = {} if model is None else {"model": model}
        answer = self._checked(self._http.post(f"{API}/predict", params=query, content=content))
        found = answer.json()
        return Prediction(
            found["model_id"], [(each["label"], each["probability"]) for each in found["labels"]]
        )

    def similar(self, content: bytes, count: int = 12) -> list[tuple[str, float]]:
        """Image ids of the pictures that are most similar to a picture, with their cosine (1: the same)."""
        answer = self._checked(self._http.post(f"{API}/similar", params={"count": count}, content=content))
        return [(each["image_id"], each["similarity"]) for each in answer.json()["matches"]]

    def faces(self, content: bytes, model: str | None = None, top: int = 3, seconds: float = 60.0) -> Faces:
        """The faces in a picture, each with the nearest labels of a model for faces.

        Args:
            content: the picture.
            model: id; None: the hub's own choice.
            top: labels of each face.
            seconds: how long it is repeated while the hub measures the model's dataset, the first time.
        """
        query = {"top": str(top)} | ({} if model is None else {"model": model})
        answer = self._repeat(lambda: self._http.post(f"{API}/faces", params=query, content=content), seconds)
        found = answer.json()
        faces = tuple(
            Face(
                Box(**each["box"]), each["confidence"],
                tuple((identity["label"], identity["distance"]) for identity in each["identities"]),
            )
            for each in found["faces"]
        )  # fmt: skip
        return _make(Faces, found | {"faces": faces})

    def compare(self, first: bytes, second: bytes, model: str | None = None) -> Comparison:
        """How far the largest faces of two pictures are from each other."""
        query = {} if model is None else {"model": model}
        files = {"first": first, "second": second}
        answer = self._checked(self._http.post(f"{API}/compare", params=query, files=files))
        found = answer.json()
        compared = {
            name: _make(ComparedFace, found[name] | {"box": Box(**found[name]["box"])}) for name in files
        }
        return _make(Comparison, found | compared)

    def doubtful(self, limit: int = 50, label: str = "") -> list[dict[str, Any]]:
        """The most doubtful pictures: image_id, label, suggested_label, label_quality, reason, stacked."""
        found = self._get("/reviews/queue", {"limit": limit} | ({"label": label} if label else {})).json()
        return list(found["items"])

    def review(self, image_id: str, decision: str, label: str | None = None) -> str | None:
        """Decide about a picture: keep, relabel (to a label), none_of_these or undo; the decision's id."""
        choice = {"image_id": image_id, "decision": decision, "label": label}
        answer = self._checked(self._http.post(f"{API}/reviews", json={"decisions": [choice]}))
        found: str | None = answer.json()["decision_id"]
        return found

    def train(self, labels: Sequence[str], **options: Any) -> Training:
        """Ask for a training; options: start, architecture, source, workers, epochs, again."""
        answer = self._http.post(f"{API}/trainings", json={"labels": list(labels)} | options)
        return _make(Training, self._checked(answer).json())

    def training(self, training_id: str) -> Training:
        """How far a training is."""
        return _make(Training, self._get(f"/trainings/{quote(training_id, safe='')}").json())

    def cancel(self, training_id: str) -> Training:
        """Cancel a training."""
        answer = self._http.delete(f"{API}/trainings/{quote(training_id, safe='')}")
        return _make(Training, self._checked(answer).json())

    def _get(self, path: str, query: Mapping[str, Any] | None = None) -> httpx.Response:
        return self._checked(self._http.get(API + path, params=query))

    def _repeat(self, send: Any, seconds: float) -> httpx.Response:
        deadline, pause = time.monotonic() + seconds, 0.25
        while True:
            wait = pause
            try:
                answer: httpx.Response = send()
                if answer.status_code not in {408, 429, 502, 503, 504}:
                    return self._checked(answer)
                wait = max(pause, float(answer.headers.get("Retry-After", 0)))
                if time.monotonic() + wait > deadline:
                    raise _refusal(answer)
            except httpx.TransportError:
                if time.monotonic() + wait > deadline:
                    raise
            time.sleep(wait)
            pause = min(_LONGEST_PAUSE, pause * 2)

    @staticmethod
    def _checked(answer: httpx.Response) -> httpx.Response:
        if answer.is_success:
            return answer
        raise _refusal(answer)


def _refusal(answer: httpx.Response) -> HubRefused:
    try:
        problem = answer.json()
        return HubRefused(answer.status_code, str(problem["code"]), str(problem["detail"]))
    except (ValueError, KeyError, TypeError):
        return HubRefused(answer.status_code, "unknown", answer.text[:200])


def _make(kind: type[T], values: Mapping[str, Any]) -> T:
    """Make a dataclass; fields of a newer hub are ignored."""
    names = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    known = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return kind(**{name: value for name, value in known.items() if name in names})


def _events(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Server-sent events. Source: HTML Living Standard, section 9.2.6."""
    event: dict[str, str] = {}
    place = ""
    for line in lines:
        if not line:
            place = event.get("id", place)
            if "data" in event:
                yield event | {"id": place}
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            event[name] = f"{event['data']}\n{value}" if name == "data" and "data" in event else value
