"""Faces drawn in code: people who do not exist, as upright portraits that a face detector takes for faces."""

from dataclasses import dataclass

import cv2
import numpy as np

from lake.pictures.pixels import RGB

Colour = tuple[int, int, int]
_FINE = 4  # times that a face is drawn larger, then scaled down


@dataclass(frozen=True)
class Person:
    """What a person looks like: colours of skin, hair and shirt, distance of the eyes, width of the head."""

    skin: Colour
    hair: Colour
    shirt: Colour
    eyes: float
    width: float


PEOPLE = {
    "ada": Person((236, 188, 160), (196, 150, 70), (70, 80, 140), 0.16, 0.28),
    "ben": Person((168, 116, 86), (24, 20, 20), (150, 60, 50), 0.18, 0.31),
    "cem": Person((205, 150, 115), (45, 30, 22), (60, 130, 80), 0.17, 0.30),
    "dil": Person((245, 205, 190), (150, 50, 30), (200, 190, 120), 0.15, 0.27),
}


def portrait(person: Person, number: int, side: int = 160) -> RGB:
    """A picture of a person: each number has another light, ground and place. uint8 (side, side, 3)."""
    random = np.random.default_rng(number)
    ground = tuple(int(value) for value in random.integers(90, 180, 3))
    shift = random.uniform(-0.03, 0.03, 2)
    fine = side * _FINE
    image = np.full((fine, fine, 3), ground, np.uint8)

    def oval(x: float, y: float, across: float, down: float, colour: Colour, turned: float = 0) -> None:
        centre = int((x + shift[0]) * fine), int((y + shift[1]) * fine)
        axes = int(across * fine), int(down * fine)
        cv2.ellipse(image, centre, axes, turned, 0, 360, colour, -1, cv2.LINE_AA)

    shade, soft = _darker(person.skin, 0.72), _darker(person.skin, 0.93)
    oval(0.5, 0.45, person.width + 0.05, 0.42, person.hair)
    oval(0.5, 1.02, 0.40, 0.22, person.shirt)
    oval(0.5, 0.85, 0.09, 0.12, shade)
    oval(0.5, 0.52, person.width, 0.37, person.skin)
    oval(0.5, 0.24, person.width * 0.9, 0.12, person.hair)
    for sign in (-1, 1):
        x = 0.5 + sign * person.eyes * 0.75
        oval(x, 0.455, 0.075, 0.05, shade)
        oval(x, 0.46, 0.055, 0.026, (245, 245, 245))
        oval(x, 0.46, 0.024, 0.026, (50, 35, 30))
        oval(x, 0.40, 0.075, 0.016, person.hair, sign * 6)
    oval(0.5, 0.56, 0.03, 0.09, soft)
    oval(0.5, 0.625, 0.055, 0.025, shade)
    oval(0.5, 0.725, 0.095, 0.028, (165, 70, 70))
    oval(0.5, 0.725, 0.09, 0.006, (100, 40, 40))
    image = cv2.GaussianBlur(image, (0, 0), fine * 0.012)
    darkest, brightest = sorted(random.uniform(0.86, 1.1, 2).tolist())
    light = np.linspace(darkest, brightest, fine)[None, :, None]
    lit = np.clip(image * light, 0, 255).astype(np.uint8)
    return cv2.resize(lit, (side, side), interpolation=cv2.INTER_AREA)


def _darker(colour: Colour, share: float) -> Colour:
    red, green, blue = (int(value * share) for value in colour)
    return red, green, blue


def side_by_side(*portraits: RGB) -> RGB:
    """Portraits of one height in one picture."""
    return np.concatenate(portraits, axis=1)
