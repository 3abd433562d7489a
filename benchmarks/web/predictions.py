"""Predictions over HTTP: the hub, LiteRT alone in this process, and Gradio with the same model."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from benchmarks.web.load import Times, measure
from conf.places import base_dir
from conf.settings import Settings
from lake.native_output import output_to
from lake.storage import Storage
from models.registry import model_cards
from models.registry.model_cards import ModelCard, State
from tests.support import pictures

MODEL, SIDE = "bench-resnet20", 32
LABELS = tuple(f"label{number}" for number in range(10))
GRADIO = base_dir() / "build" / "gradio" / "bin" / "python"
INSTALL = "python3 -m venv build/gradio && build/gradio/bin/pip install gradio==6.31.0 ai-edge-litert"
"""Gradio's pins do not fit the hub's, so it has an environment of its own."""

_COUNT, _CLIENTS = 300, 8
_START_SECONDS = 90.0


def write_model(settings: Settings) -> None:
    """A ResNet-20 with random weights as a ready model: its time does not depend on them."""
    with output_to(settings.logs.dir / "tensorflow.out", 1, 2):
        _write_model(settings)


def _write_model(settings: Settings) -> None:
    from models import tensorflow_import

    tensorflow_import.load()
    from models.architectures import ARCHITECTURES
    from models.formats import export
    from models.nets import heads

    entry = ARCHITECTURES["resnet20"]
    built = heads.with_softmax(entry.build(heads.logits(len(LABELS)), entry.published, SIDE))
    files = model_cards.artifact_storage(settings, MODEL)
    calibration = np.zeros((4, SIDE, SIDE, 3), np.uint8)
    export.write_tflite(export.ExportableModel(built, MODEL, LABELS), files, calibration)
    files.write("labels.txt", "\n".join(LABELS).encode())
    card = ModelCard(
        model_id=MODEL, dataset_id="none", architecture="resnet20", side=SIDE, labels=LABELS,
        state=State.READY, created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    model_cards.write_card(settings, card)


def measure_all(settings: Settings, url: str) -> list[Times]:
    """Times of LiteRT alone, of the hub, and of Gradio if it is installed."""
    files = model_cards.artifact_storage(settings, MODEL)
    content = pictures.jpeg(seed=1)

    def hub(client: httpx.Client, number: int) -> httpx.Response:
        return client.post(f"/api/v1/predict?model={MODEL}", content=content)

    def gradio(client: httpx.Client, number: int) -> httpx.Response:
        return _ask(client, content)

    found = [_litert_alone(files, content), *_at_both("POST /predict, ResNet-20 at 32 px", hub, url)]
    if GRADIO.exists():
        with _gradio(files) as other:
            found += _at_both("the same model in Gradio", gradio, other)
    return found


def _at_both(name: str, send: Callable[[httpx.Client, int], httpx.Response], url: str) -> list[Times]:
    """Times of one client, and of several at a time."""
    return [
        measure(name, send, url, _COUNT),
        measure(f"{name}, {_CLIENTS} clients", send, url, _COUNT, _CLIENTS),
    ]


def _litert_alone(files: Storage, content: bytes) -> Times:
    from ai_edge_litert.interpreter import Interpreter

    from models.pictures import inputs

    interpreter = Interpreter(model_content=files.read("model.tflite"), num_threads=1)
    interpreter.allocate_tensors()
    place, seconds = interpreter.get_input_details()[0]["index"], []
    for _ in range(_COUNT):
        begun = time.perf_counter()
        pixels = inputs.decode_centre_crop(content, SIDE)
        interpreter.set_tensor(place, pixels[None].astype(np.float32))
        interpreter.invoke()
        seconds.append(time.perf_counter() - begun)
    return Times.of("decode, scale, LiteRT; no server", seconds, sum(seconds))


@contextmanager
def _gradio(files: Storage) -> Iterator[str]:
    port = 7899
    script = Path(__file__).with_name("gradio_app.py")
    model, labels = (f"{files.root}/{name}" for name in ("model.tflite", "labels.txt"))
    process = subprocess.Popen(
        [GRADIO, script, model, labels, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + _START_SECONDS
    try:
        while True:
            try:
                httpx.get(f"{url}/config", timeout=5).raise_for_status()
                break
            except httpx.HTTPError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.3)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _ask(client: httpx.Client, content: bytes) -> httpx.Response:
    """One prediction in Gradio's protocol: upload the file, call the function, read its result."""
    files = {"files": ("picture.jpg", content, "image/jpeg")}
    path = client.post("/gradio_api/upload", files=files).json()[0]
    data = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
    event = client.post("/gradio_api/call/predict", json=data).json()["event_id"]
    answer = client.get(f"/gradio_api/call/predict/{event}")
    assert "event: complete" in answer.text, answer.text[:300]
    return answer
