"""How an attack is recorded: held at a slant, focused, exposed, and stored as picture or video."""

import io
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any, BinaryIO

import av
import numpy as np
from PIL import Image, ImageFilter


def held(item: Image.Image, size: tuple[int, int], random: Random) -> Image.Image:
    """Return a picture of the item, slanted, in front of a wall of a few colours."""
    near = random.uniform(0.8, 1.12)
    scale = near * min(1.0, 1.6 * max(size) / max(item.size))
    item = item.resize((round(item.width * scale), round(item.height * scale)),
                       Image.Resampling.LANCZOS)  # fmt: skip
    wall = _wall_of(round(item.width / near), round(item.height / near), random)
    turned = item.convert("RGBA").rotate(random.gauss(0, 3), Image.Resampling.BICUBIC, expand=True)
    slant = random.uniform(-0.06, 0.06)
    w, h = turned.size
    corners = (0, 0, -slant * w, h, w + slant * w, h * (1 - abs(slant)), w, 0)
    turned = turned.transform((w, h), Image.Transform.QUAD, corners, Image.Resampling.BICUBIC)
    place = (
        (wall.width - w) // 2 + random.randint(-6, 6),
        (wall.height - h) // 2 + random.randint(-6, 6),
    )
    wall.paste(turned, place, turned)
    return wall


def _wall_of(width: int, height: int, random: Random) -> Image.Image:
    coarse = random.choice((2, 3, 5))
    levels = np.array(
        [
            [[random.randint(30, 220) for _ in range(3)] for _ in range(coarse)]
            for _ in range(coarse)
        ]
    )
    wall = Image.fromarray(levels.astype(np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    return wall.filter(ImageFilter.GaussianBlur(2))


def taken(scene: Image.Image, random: Random) -> Image.Image:
    """Return the scene as a cheap camera records it."""
    if random.random() < 0.7:
        scene = scene.filter(ImageFilter.GaussianBlur(random.uniform(0.2, 1.1)))
    levels = np.asarray(scene, np.float64) / 255
    levels = levels ** random.uniform(0.85, 1.2) * random.uniform(0.8, 1.15)
    noise = np.random.default_rng(random.getrandbits(63))
    full = random.uniform(300, 6000)  # electrons of a white pixel
    levels = noise.poisson(levels.clip(0, 1) * full) / full
    image = Image.fromarray((levels.clip(0, 1) * 255).astype(np.uint8))
    if random.random() < 0.4:
        image = image.filter(ImageFilter.UnsharpMask(random.uniform(0.5, 1.5), 60, 2))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=random.randint(60, 95), subsampling=random.choice((0, 2)))
    with Image.open(buffer) as stored:
        return stored.convert("RGB")


def write_video(
    file: Path | BinaryIO,
    frames: Iterable[Image.Image],
    *,
    codec: str,
    fps: int,
    options: dict[str, str],
) -> None:
    """Write an MP4 of frames of the same size; an odd last row or column is cut off."""
    target: Any = str(file) if isinstance(file, Path) else file
    with av.open(target, "w", format="mp4") as container:
        stream: Any = container.add_stream(codec, rate=fps, options=options)
        stream.pix_fmt, stream.thread_count = "yuv420p", 1
        to_frame: Any = av.VideoFrame.from_image
        for number, frame in enumerate(frames):
            even = frame.crop((0, 0, frame.width & ~1, frame.height & ~1))
            if not number:
                stream.width, stream.height = even.size
            container.mux(stream.encode(to_frame(even)))
        container.mux(stream.encode(None))
