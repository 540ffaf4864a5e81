"""The camera port, and its driver for Picamera2; `edge.capture.replay` is the other driver.

Every driver delivers full-range BT.601 pictures (`Yuv`), the large and the small one of one
exposure, with the time of that exposure on CLOCK_MONOTONIC.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge.capture.camera_controls import CaptureRequest, dynamic_controls, rotate, static_controls
from edge.capture.replay import ReplayCamera
from edge.errors import CameraError, CameraStalled
from edge.settings import CameraSettings
from edge.types import Frame, Yuv

log = logging.getLogger(__name__)

T = TypeVar("T")

_OPEN_TIMEOUT = 3.0  # seconds; a Pi opens, configures and starts its camera in about one
_CLOSE_TIMEOUT = 1.5  # seconds; the whole daemon has two to stop
_BUFFERS = 4  # one being exposed, one in the ISP, one read here, one to spare


class Camera(Protocol):
    """Frames, one a call."""

    def read(self, timeout: float) -> Frame:
        """Return the next frame, never one that was returned before.

        Raises CameraStalled after `timeout` seconds without one (reading on is allowed),
        EndOfReplay after a replay's last frame, CameraError when the camera is gone.
        """
        ...

    def ask(self, wish: CaptureRequest) -> None:
        """Have the frames from now on as they are wished, as far as this camera can.

        Returns at once; raises CameraError when the camera is gone.
        """
        ...

    def close(self) -> None:
        """Give the camera back, within two seconds; a second call does nothing."""
        ...


def open_camera(settings: CameraSettings) -> Camera:
    """Open the camera that the settings choose. Raises CameraError, ReplayError."""
    return ReplayCamera(settings) if settings.driver == "replay" else Picamera2Camera(settings)


def unpack(
    buffer: NDArray[np.uint8], pixel_format: str, width: int, height: int, stride: int
) -> Yuv:
    """Return the planes of a camera buffer, without the padding at the end of its rows.

    `buffer` is 1-D uint8, rows of `stride` bytes: Y, then U and V of half the stride (YUV420), or
    Y, then U and V interleaved (NV12). Padding after the planes is ignored. The planes are views
    of `buffer` where they lie contiguous in it. Raises CameraError for another format.
    """
    half_width, half_height, luma = width // 2, height // 2, stride * height
    y = buffer[:luma].reshape(height, stride)[:, :width]
    chroma = buffer[luma : luma + luma // 2]
    if pixel_format == "YUV420":
        u, v = chroma.reshape(2, half_height, stride // 2)[:, :, :half_width]
    elif pixel_format == "NV12":
        pairs = chroma.reshape(half_height, stride)[:, :width].reshape(half_height, half_width, 2)
        u, v = pairs[:, :, 0], pairs[:, :, 1]
    else:
        raise CameraError(f"the camera delivers {pixel_format}; Senyum reads YUV420 and NV12")
    return Yuv(*(np.ascontiguousarray(plane) for plane in (y, u, v)))


def _in_thread(action: Callable[[], T]) -> Future[T]:
    """Start what libcamera may never come back from, where nobody has to wait for it."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(action())
        except BaseException as error:  # noqa: BLE001 - the caller receives it with the result
            future.set_exception(error)

    threading.Thread(target=run, name="camera-call", daemon=True).start()
    return future


def _import_picamera2() -> Callable[[CameraSettings], Any]:
    """Return what opens a Picamera2; seconds on a slow card. Raises CameraError."""
    try:
        # Heavy, and installed only where it is chosen.
        from libcamera import ColorSpace  # noqa: PLC0415
        from picamera2 import Picamera2  # noqa: PLC0415
    except ImportError as error:
        raise CameraError(
            f"camera.driver is picamera2, which cannot be imported ({error}); run: apt install "
            "python3-picamera2, and install Senyum in an environment with --system-site-packages"
        ) from None
    return partial(_open_picamera2, Picamera2, ColorSpace.Sycc())


def _open_picamera2(driver: Any, full_range: Any, settings: CameraSettings) -> Any:
    """Return a Picamera2 that is running with both streams of `settings`."""
    cameras = driver.global_camera_info()
    if settings.number >= len(cameras):
        raise CameraError(
            f"camera.number is {settings.number}, but {len(cameras) or 'no'} camera(s) were found; "
            "check the ribbon cable and run: rpicam-hello --list-cameras"
        )
    if str(cameras[settings.number].get("Model", "")).startswith("imx708"):
        _set_hdr(settings)
    camera = driver(settings.number)
    try:
        available = camera.camera_controls
        controls = {
            **static_controls(settings, available),
            **dynamic_controls(CaptureRequest(settings.fps), available),
        }
        camera.configure(
            camera.create_video_configuration(
                main={"format": "YUV420", "size": (settings.main_width, settings.main_height)},
                lores={"format": "YUV420", "size": (settings.lores_width, settings.lores_height)},
                raw=None,
                colour_space=full_range,
                buffer_count=_BUFFERS,
                # No request is kept back: each read gets one that completes after the call.
                queue=False,
                controls=controls,
                display=None,
                encode=None,
            )
        )
        camera.start()
    except BaseException:
        camera.close()
        raise
    return camera


def _set_hdr(settings: CameraSettings) -> None:
    """Switch the wide range of Camera Module 3, which has to be done before it is opened."""
    from picamera2.devices.imx708 import IMX708  # noqa: PLC0415 - as Picamera2

    try:
        with IMX708(settings.number) as sensor:
            sensor.set_sensor_hdr_mode(settings.hdr)
    except Exception as error:  # noqa: BLE001 - pictures without it are better than none
        log.warning("the camera's wide range could not be set (%s)", error)


class Picamera2Camera:
    """A camera of the Raspberry Pi, or any that libcamera knows and delivers YUV420 or NV12.

    `opener` returns a running Picamera2; every call into it that may block is bounded.
    """

    def __init__(
        self, settings: CameraSettings, opener: Callable[[CameraSettings], Any] | None = None
    ) -> None:
        self._name = f"camera {settings.number}"
        self._interval_ns = round(1e9 / settings.fps)
        self._turn = partial(rotate, rotation=settings.rotation, mirror=settings.mirror)
        self._as_it_is = settings.rotation == 0 and not settings.mirror
        opening = _in_thread(partial(opener or _import_picamera2(), settings))
        try:
            self._camera: Any = opening.result(_OPEN_TIMEOUT)
        except CameraError:
            raise
        except TimeoutError:
            # Should it open after all, it must not stay taken.
            opening.add_done_callback(lambda late: late.exception() or late.result().close())
            raise CameraError(f"{self._name} did not open within {_OPEN_TIMEOUT:.0f} s") from None
        except Exception as error:  # picamera2 and libcamera raise whatever they like
            raise CameraError(
                f"{self._name} cannot be opened ({error}); see that no other program uses it"
            ) from error
        self._job: Any = None  # outlives a read that timed out, so that no request is lost
        self._stale = 0  # dropped since the last frame
        self._number = 0
        self._began_ns: int | None = None

    def read(self, timeout: float) -> Frame:
        if self._camera is None:
            raise CameraError(f"{self._name} is closed")
        try:
            return self._next_fresh(time.monotonic() + timeout)
        except CameraError:
            raise
        except TimeoutError:
            raise CameraStalled(f"{self._name}: no frame within {timeout:.1f} s") from None
        except Exception as error:
            raise CameraError(f"{self._name} is gone ({error}); check its cable") from error

    def ask(self, wish: CaptureRequest) -> None:
        if self._camera is None:
            raise CameraError(f"{self._name} is closed")
        controls = dynamic_controls(wish, self._camera.camera_controls)
        try:
            if controls:
                self._camera.set_controls(controls)
        except Exception as error:
            raise CameraError(f"{self._name} takes no controls ({error})") from error
        self._interval_ns = round(1e9 / wish.fps)

    def close(self) -> None:
        camera, self._camera = self._camera, None
        if camera is None:
            return

        def shut() -> None:
            camera.cancel_all_and_flush()
            camera.close()

        try:
            _in_thread(shut).result(_CLOSE_TIMEOUT)
        except Exception as error:  # noqa: BLE001 - TimeoutError too: given up either way
            log.warning("%s did not close cleanly: %r", self._name, error)

    def _next_fresh(self, deadline: float) -> Frame:
        while True:
            self._job = self._job or self._camera.capture_request(wait=False)
            request = self._job.get_result(max(0.0, deadline - time.monotonic()))
            self._job = None
            try:
                metadata = request.get_metadata()
                sensor_ns, began_ns = capture_times(metadata)
                # A request that completed while nobody read is old. When as many as there are
                # buffers were, the whole camera is behind, and late beats nothing.
                age_ns = time.monotonic_ns() - sensor_ns
                # Requests that were queued at a slower rate still come at that rate.
                interval_ns = max(self._interval_ns, 1000 * int(metadata.get("FrameDuration", 0)))
                if age_ns <= 2 * interval_ns or self._stale == _BUFFERS:
                    self._stale = 0
                    return self._frame(request, began_ns)
            finally:
                request.release()
            self._stale += 1

    def _frame(self, request: Any, began_ns: int) -> Frame:
        # Counted by the clock: the ISP's sequence skips no number for an exposure that found no
        # free buffer.
        if self._began_ns is not None:
            self._number += max(1, round((began_ns - self._began_ns) / self._interval_ns))
        self._began_ns = began_ns
        return Frame(
            self._number, began_ns, self._picture(request, "main"), self._picture(request, "lores")
        )

    def _picture(self, request: Any, name: str) -> Yuv:
        stream = self._camera.stream_configuration(name)
        buffer, (width, height) = request.make_buffer(name), stream["size"]
        picture = unpack(buffer, stream["format"], width, height, stream["stride"])
        return picture if self._as_it_is else self._turn(picture)


def capture_times(metadata: dict[str, Any]) -> tuple[int, int]:
    """Return SensorTimestamp and the beginning of its exposure, in CLOCK_MONOTONIC nanoseconds.

    libcamera documents CLOCK_BOOTTIME but hands on the kernel's V4L2 stamp, CLOCK_MONOTONIC. The
    two differ by the time the machine was suspended, so a stamp in the future is of the former.
    The stamp is taken when readout begins, so the exposure (microseconds) lies before it.
    """
    stamp = int(metadata["SensorTimestamp"])
    now = time.monotonic_ns()
    if stamp > now:
        stamp -= time.clock_gettime_ns(time.CLOCK_BOOTTIME) - now
    return stamp, stamp - 1000 * int(metadata.get("ExposureTime", 0))
