"""Test only: teach Picamera2 the two things that libcamera's virtual camera does otherwise.

Importing this module is enough; do it before the first camera is opened. `python -m
virtual_camera run --config …` is `senyum run` on the virtual camera.
"""

import sys
from typing import Any

import libcamera
import picamera2
import picamera2.allocators.dmaallocator as dmaallocator


class _TwoPlanes:
    """libcamera, except that a frame buffer of one plane becomes Y and UV planes.

    Picamera2 allocates one plane for a whole picture, which a Pi's pipelines accept; the virtual
    one wants a plane for each of NV12's two.
    """

    class FrameBuffer:
        Plane = libcamera.FrameBuffer.Plane

        def __new__(cls, planes: list[Any]) -> Any:
            (y,) = planes
            whole = y.length
            y.length = whole * 2 // 3
            uv = libcamera.FrameBuffer.Plane()
            uv.fd, uv.offset, uv.length = y.fd, y.length, whole - y.length
            return libcamera.FrameBuffer([y, uv])

    def __getattr__(self, name: str) -> Any:
        return getattr(libcamera, name)


dmaallocator.libcamera = _TwoPlanes()
# A raw sensor mode, which Picamera2 wants to know of before it opens any camera.
picamera2.Picamera2._get_raw_modes = lambda _: [{"format": "SRGGB10_CSI2P", "size": (1280, 960)}]

if __name__ == "__main__":
    from edge.cli import main

    sys.exit(main())
