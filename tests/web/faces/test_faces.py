"""Faces over HTTP: found, named, compared; and what is said when that cannot be done."""

import base64
import io
from collections.abc import Iterator

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from conf.settings import Settings
from hub_client import HubClient, HubRefused
from lake.pictures.pixels import RGB
from tests.support import tiny
from tests.web import worlds
from tests.web.faces.conftest import DATASET, MODEL, OF_EACH
from tests.web.faces.drawn_faces import PEOPLE, portrait, side_by_side
from tests.web.pages.browsers import browser
from web.access.principal import Role

NEW = 1000  # numbers of portraits that are in no dataset


@pytest.fixture(scope="module")
def site(people: Settings) -> Iterator[TestClient]:
    with browser(people) as client:
        yield client


@pytest.fixture(scope="module")
def hub(site: TestClient) -> HubClient:
    return client_of(site)


def client_of(site: TestClient) -> HubClient:
    """The Python client, on the application without a network."""
    hub = HubClient("http://testserver")
    hub._http = site  # type: ignore[assignment]  # it has the same methods
    return hub


def jpeg(rgb: RGB) -> bytes:
    return tiny.jpeg(rgb)


@pytest.mark.parametrize("name", PEOPLE)
def test_the_nearest_identity_of_a_new_picture_is_the_person_in_it(hub: HubClient, name: str) -> None:
    for number in range(3):
        found = hub.faces(jpeg(portrait(PEOPLE[name], NEW + number)), top=4)
        (face,) = found.faces
        assert found.model_id == MODEL
        assert found.compared_with >= 0.9 * OF_EACH * len(PEOPLE)
        assert face.identities[0][0] == name
        distances = [distance for _, distance in face.identities]
        assert distances == sorted(distances) and 0 <= distances[0] <= distances[-1] <= 4
        assert {label for label, _ in face.identities} == set(PEOPLE)


def test_each_of_several_faces_has_its_own_identity(hub: HubClient) -> None:
    two = side_by_side(portrait(PEOPLE["ada"], NEW, 240), portrait(PEOPLE["cem"], NEW + 1, 240))
    found = hub.faces(jpeg(two), top=1)
    names = [face.identities[0][0] for face in sorted(found.faces, key=lambda face: face.box.x)]
    assert names == ["ada", "cem"]


def test_a_picture_without_a_face_is_no_error(hub: HubClient) -> None:
    assert hub.faces(jpeg(tiny.picture(1, np.random.default_rng(1), 120))).faces == ()


def test_a_picture_that_its_exif_turns_has_its_faces_upright(site: TestClient) -> None:
    image = Image.fromarray(portrait(PEOPLE["dil"], NEW, 200)[:, 20:180]).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it a quarter clockwise to see it upright
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif)
    found = site.post("/api/v1/faces", params={"jpeg": True}, content=file.getvalue()).json()
    assert (found["width"], found["height"]) == (160, 200)
    (face,) = found["faces"]
    assert face["identities"][0]["label"] == "dil"
    shown = Image.open(io.BytesIO(base64.b64decode(found["jpeg"])))
    assert shown.size == (160, 200)


def test_faces_of_a_large_picture_are_looked_for_at_more_than_the_stored_size(hub: HubClient) -> None:
    wide = np.full((900, 1600, 3), 110, np.uint8)
    wide[300:460, 700:860] = portrait(PEOPLE["ada"], NEW)  # 25 pixels wide in a stored picture of 256
    found = hub.faces(jpeg(wide))
    assert (found.width, found.height) == (1024, 576)
    assert len(found.faces) == 1


def test_pictures_of_one_person_are_nearer_than_those_of_two(hub: HubClient) -> None:
    for name, other in zip(PEOPLE, [*list(PEOPLE)[1:], "ada"], strict=True):
        first, second = (jpeg(portrait(PEOPLE[name], NEW + number)) for number in (1, 2))
        same = hub.compare(first, second)
        different = hub.compare(first, jpeg(portrait(PEOPLE[other], NEW + 2)))
        assert same.distance < different.distance
        assert same.same is True and different.same is False
    assert hub.compare(first, first).distance == 0


def test_the_largest_faces_are_compared(hub: HubClient) -> None:
    small = np.concatenate([portrait(PEOPLE["ben"], NEW, 120), np.full((120, 120, 3), 128, np.uint8)])
    two = side_by_side(small, portrait(PEOPLE["ada"], NEW, 240))
    found = hub.compare(jpeg(two), jpeg(portrait(PEOPLE["ada"], NEW + 1)))
    assert (found.first.faces, found.second.faces) == (2, 1)
    assert found.first.box.x > 120
    assert found.same is True


def test_a_comparison_names_the_picture_that_cannot_be_compared(hub: HubClient) -> None:
    good, none = jpeg(portrait(PEOPLE["ada"], NEW)), jpeg(np.full((100, 100, 3), 99, np.uint8))
    with pytest.raises(HubRefused, match=r"422 no_face: the second picture has no face of 40 pixels"):
        hub.compare(good, none)
    with pytest.raises(HubRefused, match=r"422 truncated: the first picture: "):
        hub.compare(good[: len(good) // 2], good)
    with pytest.raises(HubRefused, match="422 unsupported_format"):
        hub.faces(b"no picture at all")
    with pytest.raises(HubRefused, match="422 empty"):
        hub.faces(b"")


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"x", "image/jpeg", 415, "unsupported_media_type"),
        (b"x", "", 415, "unsupported_media_type"),
        (b"x", "multipart/form-data", 422, "bad_form"),
        (b"x", "multipart/form-data; boundary=a", 422, "bad_form"),
        (b'--a\r\nContent-Disposition: form-data; name="first"; filename="f"\r\n\r\nx\r\n--a--\r\n',
         "multipart/form-data; boundary=a", 422, "bad_form"),
        (b'--a\r\nContent-Disposition: form-data; name="first"\r\n\r\nx\r\n--a--\r\n',
         "multipart/form-data; boundary=a", 422, "bad_form"),
    ],
    ids=["a picture", "no type", "no boundary", "no form", "one picture", "text"],
)  # fmt: skip
def test_a_body_that_is_not_two_pictures_is_refused(
    site: TestClient, body: bytes, kind: str, status: int, code: str
) -> None:
    answer = site.post("/api/v1/compare", content=body, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


def test_faces_are_off_by_default_and_the_reason_is_said(own: Settings) -> None:
    assert own.faces.enabled is False
    with browser(own) as client:
        page = client.get("/faces").text
        assert "Faces are off" in page and "biometric data" in page and "HUB__FACES__ENABLED=true" in page
        for path in ("faces", "compare"):
            answer = client.post(f"/api/v1/{path}", content=b"x")
            assert (answer.status_code, answer.json()["code"]) == (403, "faces_off")
            assert "biometric" in answer.json()["detail"]


def test_without_a_model_for_faces_the_way_to_one_is_said(own: Settings) -> None:
    enabled = own.faces.model_copy(update={"enabled": True})
    with browser(own.model_copy(update={"faces": enabled})) as client:
        assert "No model for faces yet" in client.get("/faces").text
        answer = client.post("/api/v1/faces", content=b"x")
        assert (answer.status_code, answer.json()["code"]) == (404, "no_model")
        assert "--objective triplet" in answer.json()["detail"]


def test_a_model_that_predicts_labels_is_refused(own: Settings) -> None:
    worlds.build(own, 10)
    enabled = own.faces.model_copy(update={"enabled": True})
    with browser(own.model_copy(update={"faces": enabled})) as client:
        answer = client.post("/api/v1/faces", params={"model": "resnet20-ready"}, content=b"x")
        assert (answer.status_code, answer.json()["code"]) == (409, "unusable_model")
        assert "trained with --objective triplet" in answer.json()["detail"]
        assert client.post("/api/v1/faces", params={"model": "x"}, content=b"x").status_code == 404


def test_a_dataset_that_is_gone_is_said(people: Settings, own: Settings) -> None:
    from lake.storage import Storage
    from models.registry import model_cards

    files = model_cards.artifact_storage(people, MODEL)
    copy = model_cards.artifact_storage(own, MODEL)
    for name in ("model.json", "model.tflite"):
        copy.write(name, files.read(name))
    enabled = own.faces.model_copy(update={"enabled": True})
    with browser(own.model_copy(update={"faces": enabled})) as client:
        answer = client.post("/api/v1/faces", content=b"x")
        assert (answer.status_code, answer.json()["code"]) == (409, "unusable_dataset")
        assert not Storage(own.lake.at("snapshots", DATASET), own.s3).exists("manifest.json")


def test_erased_people_are_forgotten_at_once(people: Settings, own: Settings) -> None:
    shared = own.model_copy(update={"faces": people.faces, "lake": people.lake})
    with browser(shared) as client:
        hub, picture = client_of(client), jpeg(portrait(PEOPLE["ada"], NEW))
        assert hub.faces(picture, top=4).faces[0].identities[0][0] == "ada"
        before = hub.faces(picture).compared_with
        client.resources.mirror.hide("user-ada", True)  # type: ignore[attr-defined]
        found = hub.faces(picture, top=4)
        assert {label for label, _ in found.faces[0].identities} == set(PEOPLE) - {"ada"}
        assert found.compared_with < before


def test_without_the_detector_its_installation_is_said_and_the_next_request_tries_again(
    people: Settings, own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = jpeg(portrait(PEOPLE["ada"], NEW))
    with browser(people.model_copy(update={"web": own.web})) as client:
        with monkeypatch.context() as patched:
            patched.setattr("web.faces.detector.PACKAGE", "no-such-package")
            answer = client.post("/api/v1/faces", content=body)
            assert (answer.status_code, answer.json()["code"]) == (503, "no_detector")
            assert "pip install" in answer.json()["detail"]
        assert client.post("/api/v1/faces", content=body).status_code == 200


def test_while_the_dataset_is_measured_a_request_is_told_to_come_back(
    people: Settings, own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = jpeg(portrait(PEOPLE["ada"], NEW))
    with browser(people.model_copy(update={"web": own.web})) as client:
        with monkeypatch.context() as patched:
            patched.setattr("web.faces.recognizer._WAIT_SECONDS", 1e-6)
            answer = client.post("/api/v1/faces", content=body)
            assert (answer.status_code, answer.json()["code"]) == (503, "measuring")
            assert answer.headers["retry-after"] == "5"
            assert "pictures so far" in answer.json()["detail"]
        assert client.post("/api/v1/faces", content=body).status_code == 200


def test_the_page_offers_the_models_that_can_compare(site: TestClient) -> None:
    page = site.get("/faces", params={"model": MODEL}).text
    assert f'<option value="{MODEL}" selected>' in page
    assert "faces.js" in page
    assert 'href="/faces"' in site.get("/try").text or "No model to try yet" in site.get("/try").text


def test_uploaders_may_ask_and_others_not(people: Settings, own: Settings) -> None:
    shared = people.model_copy(update={"web": own.web})
    with browser(shared) as client:
        accounts = client.resources.accounts  # type: ignore[attr-defined]
        accounts.set_person("anna", Role.ADMIN, "a long password")
        _, key = accounts.make_key("anna", "phone", Role.UPLOADER)
        body = jpeg(portrait(PEOPLE["ada"], NEW))
        assert client.post("/api/v1/faces", content=body).status_code == 401
        allowed = client.post("/api/v1/faces", content=body, headers={"Authorization": f"Bearer {key}"})
        assert allowed.status_code == 200
