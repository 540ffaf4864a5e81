"""What the camera sees: asked of the daemon while it runs, looked at otherwise."""

import time
from contextlib import closing

from edge.appliance.doctor.context import DiagnosticContext
from edge.appliance.doctor.result import DiagnosticCode, DiagnosticResult, failed, ok, skipped
from edge.errors import CameraError, ErrorCode
from edge.inference.quality import ImageStats, image_stats

LOOK_S = 2.0  # of frames
START_S = 5.0  # until the first; a Pi takes one to three
DARK, BRIGHT = 20.0, 240.0  # mean luma, 0 to 255: a lens cap is below the one, a lamp above
FLAT = 1.5  # variance of the Laplacian: a cap, fog or a lens far out of focus is below it
ENOUGH = 0.7  # of the frame rate that is asked for
RESTING = 0.3  # of it, that the daemon looks at while nobody is there


def camera(patient: DiagnosticContext) -> DiagnosticResult:
    """Look for frames, their rate, and whether they show something."""
    told, fps = patient.bulletin, patient.settings.camera.fps
    if told is None:
        try:
            seen, rate = _look(patient)
        except CameraError as error:
            return _lost(str(error))
        return _judge(seen, rate, ENOUGH * fps)
    if ErrorCode.CAMERA_LOST in told.codes:
        return _lost(told.fault or "no pictures come")
    if told.level is None or told.sharpness is None:
        return skipped("camera", "the daemon has not told of a picture yet", "try again")
    return _judge(ImageStats(told.level, told.sharpness), told.frame_rate, RESTING * fps)


def _look(patient: DiagnosticContext) -> tuple[ImageStats, float]:
    """Return what the last frame shows, and the rate. Raises CameraError."""
    with closing(patient.open_camera(patient.settings.camera)) as opened:
        frame = opened.read(START_S)
        count, began = 0, time.monotonic()
        while time.monotonic() < began + LOOK_S:
            frame = opened.read(LOOK_S)
            count += 1
        return image_stats(frame.lores.y), count / (time.monotonic() - began)


def _lost(why: str) -> DiagnosticResult:
    do = "switch off, seat the ribbon cable at both ends, then: rpicam-hello --list-cameras"
    return failed("camera", ErrorCode.CAMERA_LOST, why, do)


def _judge(seen: ImageStats, rate: float, least: float) -> DiagnosticResult:
    text = f"{rate:.1f} pictures a second, level {seen.level:.0f}, sharpness {seen.sharpness:.0f}"
    figures = {"rate": round(rate, 1), "level": seen.level, "sharpness": seen.sharpness}
    if seen.level < DARK:
        do = "take the cover off the lens, and give the place light"
        return failed("camera", DiagnosticCode.DARK, f"the picture is dark; {text}", do, **figures)
    if seen.level > BRIGHT:
        do = "turn the unit away from the lamp or the sun"
        return failed(
            "camera", DiagnosticCode.BRIGHT, f"the picture is all white; {text}", do, **figures
        )
    if seen.sharpness < FLAT:
        do = "clean the lens, take its film off, and focus it at one metre"
        return failed(
            "camera", DiagnosticCode.BLURRED, f"the picture shows nothing; {text}", do, **figures
        )
    if rate < least:
        do = "see power and temperature; end other programs that use the processor or the camera"
        return failed("camera", DiagnosticCode.SLOW, text, do, **figures)
    return ok("camera", text, **figures)
