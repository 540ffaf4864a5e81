"""Screens for the evaluation: every pixel has three subpixels and is recorded by a camera.

Moire is not painted; it results from sampling the pixels of the screen with those of the camera.
"""

import io
import math
from random import Random
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter

from senyum_lab.attacks.camera import write_video

_CELL = 6  # points per pixel of the screen, in each direction


def displayed(photo: Image.Image, random: Random) -> Image.Image:
    """Return a phone, tablet or monitor that shows the photo."""
    wide = random.uniform(0.45, 1.6) * photo.width  # pixels of the screen across the photo
    wide = max(90.0, min(wide, 300.0))
    size = round(wide), round(wide * photo.height / photo.width)
    shown = _light(photo.resize(size, Image.Resampling.BICUBIC), random)
    if random.random() < 0.85:
        cell = random.choice((_stripes, _stripes, _diamonds, _shadow_mask))(random)
        brightest = min(float(cell.max()), 2.5)
        tiles = np.tile(cell / brightest, (shown.height, shown.width, 1))
        lit = np.asarray(shown, np.float32).repeat(_CELL, 0).repeat(_CELL, 1) * tiles
        large = Image.fromarray(lit.clip(0, 255).astype(np.uint8))
    else:
        brightest = 1.0
        large = shown.resize((shown.width * _CELL, shown.height * _CELL))
    # The grid of the camera is slightly rotated and has another pitch.
    large = large.rotate(random.gauss(0, 1.2), Image.Resampling.NEAREST, expand=False)
    scale = random.uniform(0.9, 1.5) * photo.width
    out = round(scale), round(scale * photo.height / photo.width)
    way = random.choice((Image.Resampling.BILINEAR, Image.Resampling.BOX, Image.Resampling.HAMMING))
    seen = large.resize(out, way)
    if random.random() < 0.3:  # pixels with a fill factor below 1
        seen = large.resize(out, Image.Resampling.NEAREST).filter(ImageFilter.BoxBlur(0.6))
    seen = seen.point([min(255, round(level * brightest)) for level in range(256)] * 3)
    return _case(_reflecting(_pulsed(seen, random), random), random)


def streamed(photo: Image.Image, random: Random) -> Image.Image:
    """Return a frame of a video call, compressed by a real codec, on such a screen."""
    frame = _clip(photo, random)
    if random.random() < 0.25:
        frame = _light(frame, random)
        return _case(_reflecting(_pulsed(frame, random), random), random)
    return displayed(frame, random)


def _clip(photo: Image.Image, random: Random) -> Image.Image:
    """Return the last of a few decoded frames in which the photo drifts."""
    small = random.uniform(0.45, 1.0)
    width, height = (max(96, round(n * small / 16) * 16) for n in photo.size)
    drift = [(random.uniform(-1.5, 1.5), random.uniform(-1.5, 1.5)) for _ in range(6)]
    frames, x, y = [], 0.0, 0.0
    still = photo.resize((width, height), Image.Resampling.BICUBIC)
    for dx, dy in drift:
        x, y = x + dx, y + dy
        frame = ImageChops.offset(still, round(x), round(y))
        if random.random() < 0.5:
            frame = frame.filter(ImageFilter.BoxBlur((abs(dx), abs(dy))))
        frames.append(frame)
    packed = _codec(frames, random.choice(("libx264", "mpeg4")), random)
    return packed.resize(photo.size, random.choice((Image.Resampling.BILINEAR,
                                                    Image.Resampling.NEAREST)))  # fmt: skip


def _codec(frames: list[Image.Image], name: str, random: Random) -> Image.Image:
    width, height = frames[0].size
    if name == "libx264":
        options = {"crf": str(random.randint(34, 46)), "preset": "veryfast"}
    else:
        options = {"b": str(round(width * height * random.uniform(0.4, 2))), "qmin": "8"}
    file = io.BytesIO()
    write_video(file, frames, codec=name, fps=15, options=options)
    file.seek(0)
    with av.open(file, "r") as played:
        *_, last = played.decode(video=0)
        frame: Any = last
        image: Image.Image = frame.to_image()
    return image


def _light(picture: Image.Image, random: Random) -> Image.Image:
    """Apply a backlight: cooler white, another gamma, black that leaks light."""
    picture = ImageEnhance.Color(picture).enhance(random.uniform(0.9, 1.35))
    curve, leak = random.uniform(0.8, 1.25), random.uniform(0, 22)
    white = [random.uniform(*span) for span in ((190, 245), (205, 250), (230, 255))]
    planes = [
        plane.point([round(leak + (top - leak) * (level / 255) ** curve) for level in range(256)])
        for plane, top in zip(picture.split(), white, strict=True)
    ]
    return Image.merge("RGB", planes)


def _stripes(random: Random) -> NDArray[np.float32]:
    """Return one pixel of an LCD: three vertical subpixels between dark lines."""
    cell = np.zeros((_CELL, _CELL, 3), np.float32)
    for i in range(3):
        cell[:, 2 * i : 2 * i + 2, i] = 1
    cell[-1] *= random.uniform(0.0, 0.5)
    return _even(cell[:, ::-1] if random.random() < 0.3 else cell, random.uniform(0.1, 0.6))


def _diamonds(random: Random) -> NDArray[np.float32]:
    """Return one pixel of an OLED: green between red and blue at the corners."""
    y, x = np.mgrid[0:_CELL, 0:_CELL] + 0.5
    cell = np.zeros((_CELL, _CELL, 3), np.float32)
    for i, (cx, cy, reach) in enumerate(((1.5, 1.5, 2.2), (4.5, 3.0, 1.8), (1.5, 4.5, 2.4))):
        cell[..., i] = np.abs(x - cx) + np.abs(y - cy) < reach
    return _even(cell, random.uniform(0.1, 0.6))


def _shadow_mask(random: Random) -> NDArray[np.float32]:
    """Return one white pixel with a dark frame."""
    cell = np.ones((_CELL, _CELL, 3), np.float32)
    cell[-1], cell[:, -1] = random.uniform(0, 0.6), random.uniform(0, 0.6)
    return _even(cell, random.uniform(0, 0.5))


def _even(cell: NDArray[np.float32], leak: float) -> NDArray[np.float32]:
    """Normalise the mean of each colour of a cell to 1; some light leaks everywhere."""
    cell = cell / cell.mean((0, 1)).clip(0.05)
    return np.asarray(leak + (1 - leak) * cell, np.float32)


def _pulsed(seen: Image.Image, random: Random) -> Image.Image:
    """Sometimes add the dark bars of a dimmed backlight."""
    if random.random() < 0.65:
        return seen
    rows = np.arange(seen.height) / seen.height * random.uniform(1, 7) + random.random()
    dim = np.where(rows % 1 < random.uniform(0.2, 0.6), random.uniform(0.8, 0.97), 1.0)
    dim = np.convolve(np.pad(dim, 4, mode="edge"), np.full(9, 1 / 9), "valid")
    return Image.fromarray((np.asarray(seen) * dim[:, None, None]).astype(np.uint8))


def _reflecting(seen: Image.Image, random: Random) -> Image.Image:
    """Add the reflection of a window or a lamp."""
    if random.random() < 0.5:
        return seen
    glass = Image.new("L", seen.size, 0)
    draw, (w, h) = ImageDraw.Draw(glass), seen.size
    x, y = random.uniform(0, w * 0.8), random.uniform(0, h * 0.8)
    strong = random.randint(25, 150)
    if random.random() < 0.5:
        lean = random.uniform(-0.2, 0.2) * w
        wide, tall = random.uniform(0.15, 0.4) * w, random.uniform(0.2, 0.7) * h
        draw.polygon(
            [(x, y), (x + wide, y), (x + wide + lean, y + tall), (x + lean, y + tall)], strong
        )
    else:
        draw.ellipse((x, y, x + 0.3 * w, y + random.uniform(0.04, 0.3) * h), strong)
    glass = glass.filter(ImageFilter.GaussianBlur(random.uniform(0.5, 0.04 * w)))
    return ImageChops.screen(seen, Image.merge("RGB", (glass,) * 3))


def _case(seen: Image.Image, random: Random) -> Image.Image:
    """Add the frame of the device, unless the camera is too close to see it."""
    if random.random() < 0.35:
        return seen
    thick = round(seen.width * random.uniform(0.02, 0.08))
    chin = round(seen.width * random.uniform(0.02, 0.2))
    body = tuple([random.choice((8, 20, 30, 225))] * 3)
    size = seen.width + 2 * thick, seen.height + thick + chin
    device = Image.new("RGB", size, body)
    device.paste(seen, (thick, chin if random.random() < 0.5 else thick))
    radius = round(thick * random.uniform(0, 2))
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), radius, 255)
    behind = Image.new("RGB", size, tuple(random.randint(30, 200) for _ in range(3)))
    behind.paste(device, mask=mask)
    return behind if not math.isclose(radius, 0) else device
