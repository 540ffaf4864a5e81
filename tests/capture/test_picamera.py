"""The Picamera2 driver on a scripted Picamera2; tests/rigs/picamera2 runs it on the real one."""

import importlib.util
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.camera import Picamera2Camera, capture_times, open_camera, unpack
from edge.capture.camera_controls import CaptureRequest
from edge.errors import CameraError, CameraStalled
from edge.settings import CameraSettings

SETTINGS = CameraSettings(
    main_width=64, main_height=64, lores_width=64, lores_height=64, fps=20.0, number=3
)
INTERVAL_NS = 50_000_000


class ScriptedRequest:
    """A completed request: 64 x 64 pixels, all of one level."""

    def __init__(self, stamp_ns: int, level: int = 7) -> None:
        self.stamp_ns = stamp_ns
        self.level = level
        self.released = 0

    def get_metadata(self) -> dict[str, Any]:
        return {"SensorTimestamp": self.stamp_ns, "ExposureTime": 2_000}

    def make_buffer(self, name: str) -> NDArray[np.uint8]:
        return np.full(64 * 64 * 3 // 2, self.level, np.uint8)

    def release(self) -> None:
        self.released += 1


class Ramp(ScriptedRequest):
    """The last row is the brightest."""

    def make_buffer(self, name: str) -> NDArray[np.uint8]:
        return np.repeat(np.arange(64 * 3 // 2, dtype=np.uint8), 64)


class ScriptedJob:
    def __init__(self, future: Future[ScriptedRequest]) -> None:
        self._future = future

    def get_result(self, timeout: float) -> ScriptedRequest:
        return self._future.result(timeout)


class ScriptedPicamera2:
    """Completes the requests of its script, one a job; then nothing comes any more."""

    def __init__(self, script: Iterator[ScriptedRequest | Exception]) -> None:
        self._script = script
        self.pixel_format = "YUV420"
        self.camera_controls = {"FrameDurationLimits": (1, 10**9, 33_333)}
        self.controls: dict[str, Any] = {}
        self.jobs: list[Future[ScriptedRequest]] = []
        self.calls: list[str] = []

    def capture_request(self, *, wait: bool) -> ScriptedJob:
        assert wait is False
        future: Future[ScriptedRequest] = Future()
        self.jobs.append(future)
        match next(self._script, None):
            case Exception() as error:
                future.set_exception(error)
            case ScriptedRequest() as request:
                future.set_result(request)
        return ScriptedJob(future)

    def stream_configuration(self, name: str) -> dict[str, Any]:
        assert name in {"main", "lores"}
        return {"format": self.pixel_format, "size": (64, 64), "stride": 64}

    def set_controls(self, controls: dict[str, Any]) -> None:
        self.controls |= controls

    def cancel_all_and_flush(self) -> None:
        self.calls.append("cancel")

    def close(self) -> None:
        self.calls.append("close")


def camera_of(*script: ScriptedRequest | Exception) -> tuple[Picamera2Camera, ScriptedPicamera2]:
    driver = ScriptedPicamera2(iter(script))
    return Picamera2Camera(SETTINGS, lambda _: driver), driver


def fresh(age_ns: int = 0) -> ScriptedRequest:
    return ScriptedRequest(time.monotonic_ns() - age_ns)


def test_a_frame_carries_the_time_of_its_exposure_and_its_request_is_released() -> None:
    request = fresh()
    camera, _ = camera_of(request)

    frame = camera.read(1.0)

    assert frame.captured_ns == request.stamp_ns - 2_000_000
    assert (frame.main.y == 7).all()
    assert frame.lores.u.shape == (32, 32)
    assert request.released == 1


def test_stale_frames_are_dropped_and_released() -> None:
    old = [fresh(age_ns=3 * INTERVAL_NS), fresh(age_ns=4 * INTERVAL_NS)]
    new = fresh()
    camera, _ = camera_of(*old, new)

    assert camera.read(1.0).captured_ns == new.stamp_ns - 2_000_000
    assert [request.released for request in (*old, new)] == [1, 1, 1]


def test_a_camera_that_is_always_late_still_delivers() -> None:
    late = [fresh(age_ns=10 * INTERVAL_NS) for _ in range(5)]
    camera, _ = camera_of(*late)

    assert camera.read(1.0).captured_ns == late[4].stamp_ns - 2_000_000
    assert all(request.released == 1 for request in late)


def test_numbers_count_exposures_by_the_clock() -> None:
    camera = Picamera2Camera(SETTINGS, lambda _: ScriptedPicamera2(fresh() for _ in range(3)))

    numbers = [camera.read(1.0).number, camera.read(1.0).number]
    time.sleep(3 * INTERVAL_NS / 1e9)
    numbers.append(camera.read(1.0).number)

    assert numbers == [0, 1, 4]


def test_what_is_wished_reaches_the_camera_and_frames_at_that_rate_are_not_late() -> None:
    requests = [fresh(age_ns=3 * INTERVAL_NS)]
    camera, driver = camera_of(*requests)

    camera.ask(CaptureRequest(5.0, stops=1.0))

    assert driver.controls == {"FrameDurationLimits": (200_000, 200_000)}  # all it has
    assert camera.read(1.0).captured_ns == requests[0].stamp_ns - 2_000_000


def test_a_closed_camera_cannot_be_asked() -> None:
    camera, _ = camera_of()
    camera.close()
    with pytest.raises(CameraError, match="camera 3 is closed"):
        camera.ask(CaptureRequest(5.0))


def test_a_camera_that_hangs_upside_down_delivers_heads_up() -> None:
    settings = SETTINGS.model_copy(update={"rotation": 180})
    camera = Picamera2Camera(settings, lambda _: ScriptedPicamera2(iter([Ramp(fresh().stamp_ns)])))
    frame = camera.read(1.0)
    assert frame.main.y[0, 0] > frame.main.y[-1, -1]


def test_no_frame_within_the_timeout_is_a_stall() -> None:
    camera, _ = camera_of()
    started = time.monotonic()

    with pytest.raises(CameraStalled, match=r"camera 3: no frame within 0\.1 s"):
        camera.read(0.1)

    assert 0.09 < time.monotonic() - started < 0.5


def test_a_request_that_came_after_the_timeout_is_not_lost() -> None:
    camera, driver = camera_of()
    with pytest.raises(CameraStalled):
        camera.read(0.01)

    request = fresh()
    driver.jobs[0].set_result(request)

    assert camera.read(0.01).captured_ns == request.stamp_ns - 2_000_000
    assert len(driver.jobs) == 1
    assert request.released == 1


def test_a_camera_that_fails_is_gone() -> None:
    camera, _ = camera_of(OSError("no such device"))
    with pytest.raises(CameraError, match=r"camera 3 is gone \(no such device\)"):
        camera.read(0.1)


def test_a_format_that_we_do_not_read_is_named_and_its_request_released() -> None:
    request = fresh()
    camera, driver = camera_of(request)
    driver.pixel_format = "MJPEG"
    with pytest.raises(CameraError, match="delivers MJPEG"):
        camera.read(0.1)
    assert request.released == 1


def test_closing_cancels_what_waits_and_is_done_once() -> None:
    camera, driver = camera_of()
    with pytest.raises(CameraStalled):
        camera.read(0.01)

    camera.close()
    camera.close()

    assert driver.calls == ["cancel", "close"]
    with pytest.raises(CameraError, match="closed"):
        camera.read(0.1)


def test_a_camera_that_never_closes_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    hangs = threading.Event()

    class Hanging(ScriptedPicamera2):
        def close(self) -> None:
            hangs.wait(10)

    camera = Picamera2Camera(SETTINGS, lambda _: Hanging(iter(())))
    started = time.monotonic()
    camera.close()
    hangs.set()

    assert time.monotonic() - started < 2.0
    assert "camera 3 did not close cleanly" in caplog.text


def test_a_camera_that_opens_too_late_is_refused_and_closed_again() -> None:
    released = threading.Event()
    closed = threading.Event()

    class Late(ScriptedPicamera2):
        def close(self) -> None:
            closed.set()

    def open_late(_: CameraSettings) -> Any:
        released.wait(10)
        return Late(iter(()))

    with pytest.raises(CameraError, match="camera 3 did not open within 3 s"):
        Picamera2Camera(SETTINGS, open_late)
    released.set()

    assert closed.wait(2.0)


def test_an_error_of_libcamera_says_what_to_look_at() -> None:
    def refuse(_: CameraSettings) -> Any:
        raise RuntimeError("Device or resource busy")

    with pytest.raises(CameraError, match=r"Device or resource busy.* no other program"):
        Picamera2Camera(SETTINGS, refuse)


@pytest.mark.skipif(
    importlib.util.find_spec("picamera2") is not None, reason="Picamera2 is installed here"
)
def test_without_picamera2_the_error_says_how_to_get_it() -> None:
    with pytest.raises(CameraError, match=r"camera\.driver is picamera2.*python3-picamera2"):
        open_camera(CameraSettings(driver="picamera2"))


class TestTimes:
    def test_a_monotonic_stamp_is_taken_as_it_is(self) -> None:
        stamp = time.monotonic_ns() - 40_000_000
        assert capture_times({"SensorTimestamp": stamp}) == (stamp, stamp)

    def test_the_exposure_lies_before_the_stamp(self) -> None:
        stamp = time.monotonic_ns() - 40_000_000
        assert capture_times({"SensorTimestamp": stamp, "ExposureTime": 10_000}) == (
            stamp,
            stamp - 10_000_000,
        )

    def test_a_stamp_of_the_boot_clock_is_converted(self) -> None:
        """A stamp an hour ahead, less the time that this machine was suspended."""
        ahead = 3_600_000_000_000
        suspended = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
        stamp, _ = capture_times({"SensorTimestamp": time.monotonic_ns() + ahead})
        assert stamp == pytest.approx(time.monotonic_ns() + ahead - suspended, abs=5e7)


def padded_planes(stride: int) -> tuple[NDArray[np.uint8], ...]:
    random = np.random.default_rng(1)
    y = random.integers(0, 255, (6, 10), np.uint8)
    u, v = random.integers(0, 255, (2, 3, 5), np.uint8)
    return y, u, v


def with_padding(rows: NDArray[np.uint8], stride: int) -> bytes:
    return b"".join(row.tobytes().ljust(stride, b"\xee") for row in rows)


def yuv420(y: NDArray[np.uint8], u: NDArray[np.uint8], v: NDArray[np.uint8], stride: int) -> bytes:
    return with_padding(y, stride) + with_padding(u, stride // 2) + with_padding(v, stride // 2)


def nv12(y: NDArray[np.uint8], u: NDArray[np.uint8], v: NDArray[np.uint8], stride: int) -> bytes:
    return with_padding(y, stride) + with_padding(np.dstack([u, v]).reshape(3, 10), stride)


@pytest.mark.parametrize("stride", [10, 12, 64])
@pytest.mark.parametrize(("pixel_format", "pack"), [("YUV420", yuv420), ("NV12", nv12)])
def test_rows_are_freed_of_their_padding(
    pixel_format: str, pack: Callable[..., bytes], stride: int
) -> None:
    y, u, v = padded_planes(stride)
    buffer = np.frombuffer(pack(y, u, v, stride) + b"\xee" * 100, np.uint8)

    picture = unpack(buffer, pixel_format, 10, 6, stride)

    assert np.array_equal(picture.y, y)
    assert np.array_equal(picture.u, u)
    assert np.array_equal(picture.v, v)
    assert all(plane.flags.c_contiguous for plane in (picture.y, picture.u, picture.v))
