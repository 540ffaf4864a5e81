"""Video files, written frame by frame."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import av
from PIL import Image


def write(
    file: Path | BinaryIO,
    frames: Iterable[Image.Image],
    *,
    codec: str,
    fps: int,
    options: dict[str, str],
) -> None:
    """Write an MP4 of frames of one size; an odd last row or column is cut off."""
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
