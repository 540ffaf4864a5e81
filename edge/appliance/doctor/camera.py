"""Checks the camera: by the daemon's status while it runs, else by reading frames."""

import time
from contextlib import closing

from edge.appliance.doctor.diagnostics import (
    DiagnosticCode,
    DiagnosticContext,
    DiagnosticResult,
    failed,
    ok,
    skipped,
)
from edge.errors import CameraError, ErrorCode
from edge.inference.quality import ImageStats, image_stats

READ_S = 2.0  # duration of the test
START_S = 5.0  # time to the first frame; a Pi takes one to three
DARK, BRIGHT = 20.0, 240.0  # mean luma, 0 to 255: below: a lens cap; above: a lamp
FLAT = 1.5  # variance of the Laplacian; below: a cap, fog, or a lens out of focus
MIN_RATE = 0.7  # share of the configured frame rate
MIN_IDLE_RATE = 0.3  # the same while nobody is in view


def check_camera(context: DiagnosticContext) -> DiagnosticResult:
    """Check that frames arrive, how fast, and that they show something."""
    daemon, fps = context.daemon_status, context.settings.camera.fps
    if daemon is None:
        try:
            stats, rate = _read_frames(context)
        except CameraError as error:
            return _lost(str(error))
        return _evaluate(stats, rate, MIN_RATE * fps)
    if ErrorCode.CAMERA_LOST in daemon.codes:
        return _lost(daemon.fault or "no frames arrive")
    if daemon.level is None or daemon.sharpness is None:
        return skipped("camera", "the daemon has not processed a frame yet", "try again")
    return _evaluate(
        ImageStats(daemon.level, daemon.sharpness), daemon.frame_rate, MIN_IDLE_RATE * fps
    )


def _read_frames(context: DiagnosticContext) -> tuple[ImageStats, float]:
    """Return the statistics of the last frame, and the frame rate. Raises CameraError."""
    with closing(context.open_camera(context.settings.camera)) as opened:
        frame = opened.read(START_S)
        count, began = 0, time.monotonic()
        while time.monotonic() < began + READ_S:
            frame = opened.read(READ_S)
            count += 1
        return image_stats(frame.lores.y), count / (time.monotonic() - began)


def _lost(why: str) -> DiagnosticResult:
    remedy = "switch off, reseat the ribbon cable at both ends, then: rpicam-hello --list-cameras"
    return failed("camera", ErrorCode.CAMERA_LOST, why, remedy)


def _evaluate(stats: ImageStats, rate: float, min_rate: float) -> DiagnosticResult:
    text = f"{rate:.1f} frames/s, level {stats.level:.0f}, sharpness {stats.sharpness:.0f}"
    figures = {"rate": round(rate, 1), "level": stats.level, "sharpness": stats.sharpness}
    if stats.level < DARK:
        remedy = "uncover the lens and light the place"
        return failed("camera", DiagnosticCode.DARK, f"picture too dark; {text}", remedy, **figures)
    if stats.level > BRIGHT:
        remedy = "turn the unit away from the lamp or the sun"
        return failed(
            "camera", DiagnosticCode.BRIGHT, f"picture too bright; {text}", remedy, **figures
        )
    if stats.sharpness < FLAT:
        remedy = "clean the lens, remove its protective film and focus it at one metre"
        return failed(
            "camera",
            DiagnosticCode.BLURRED,
            f"picture without detail; {text}",
            remedy,
            **figures,
        )
    if rate < min_rate:
        remedy = "check power and temperature; stop other programs that use processor or camera"
        return failed("camera", DiagnosticCode.SLOW, text, remedy, **figures)
    return ok("camera", text, **figures)
