"""Test only: what Picamera2 imports of the DRM preview's bindings, and never uses here."""

from typing import Any


class _PixelFormats:
    def __getattr__(self, name: str) -> str:
        return name


PixelFormat = _PixelFormats()


def __getattr__(name: str) -> Any:
    return type(name, (), {})
