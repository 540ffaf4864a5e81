"""Little light, and light from behind, put into photos that have neither."""

from collections.abc import Mapping

import numpy as np

from senyum_lab.quality_problems.covers import Field, Ground, Numbers

# A plain model of a small camera at the end of its gain: so many electrons make the brightest
# level, and reading a pixel adds noise.
_FULL, _READ = 1500, 4
_GAMMA = 2.2
_STOPS = (1, 2, 3, 4, 5)
_BEHIND_STOPS = (2, 3, 4)


def darker(ground: Ground, stops: float, numbers: Numbers) -> Field:
    """Return the photo with 2 ** -stops of its light, and the noise of so little."""
    electrons = (ground.photo / 255) ** _GAMMA * _FULL * 2.0**-stops
    seen = numbers.poisson(electrons) + numbers.normal(0, _READ, electrons.shape)
    return np.asarray(255 * np.clip(seen / _FULL, 0, 1) ** (1 / _GAMMA))


def backlit(ground: Ground, stops: float, numbers: Numbers) -> Field:
    """Return the photo so much darker, before a window that is clipped."""
    dark = Ground(
        darker(ground, stops, numbers), ground.x, ground.y, ground.pixel, ground.nose,
        ground.mouth, ground.chin, ground.skin,
    )  # fmt: skip
    head = np.hypot(ground.x / 1.25, (ground.y - 0.35) / (ground.chin + 0.25)) - 1
    chest = np.maximum(ground.chin - 0.1 - ground.y, np.abs(ground.x) - 2.2)
    window = numbers.normal(252, 3, 3)
    return dark.lay(-np.minimum(head, chest), window).photo


DARK: Mapping[str, float] = {f"{stops} stops darker": float(stops) for stops in _STOPS}
BACKLIT: Mapping[str, float] = {
    f"backlit by {stops} stops": float(stops) for stops in _BEHIND_STOPS
}
