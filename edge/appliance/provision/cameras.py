"""How many cameras there are."""


def count() -> int | None:
    """Ask libcamera; None where Picamera2 is not installed. Takes seconds on a slow card."""
    try:
        from picamera2 import Picamera2  # noqa: PLC0415 - heavy, and only on a Pi
    except ImportError:
        return None
    return len(Picamera2.global_camera_info())
