"""`senyum liveness-check`: error rates of liveness on this device, in this light."""

import argparse
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import GpioError, SenyumError, UsageError
from edge.status.status_file import RUNTIME
from edge.system.text import escaped

if TYPE_CHECKING:
    from edge.gpio.reconnecting_panel import ReconnectingPanel
    from edge.settings import Settings
    from senyum_lab.evaluate.guided_session import Step
    from senyum_lab.evaluate.presentations import Presentation

_DESCRIPTION = """\
Measure how many attacks pass and how many living people are rejected, with the camera of
this unit or with recordings. Prints APCER and BPCER with 95 % intervals, proposes a
threshold, and writes report.html and report.pdf. It changes no setting.

With the camera: stop the daemon (systemctl stop senyum senyum-fault), then present what the
terminal asks for. Pictures stay in memory unless --keep is given.
With --recordings: one folder of photos or one video for each presentation, and a list
file,live,kind,person (live: 0 or 1; kind and person may be missing).
"""
_EPILOG = """\
exit status:
  0  measured, with at least ten people of each kind and no error rate above 20 %
  1  too few people to claim anything, or an error rate above 20 %
  2  nothing was measured: a setting, a list or a folder is wrong, or the daemon is running
"""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "liveness-check",
        help="measure liveness on this unit with staff, photos and screens",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--people", type=_count, default=10, metavar="N", help="people to present (%(default)s)"
    )
    parser.add_argument(
        "--kinds",
        type=_kinds,
        default=("print", "phone", "tablet"),
        metavar="KIND,…",
        help="attacks to present (print,phone,tablet)",
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=5.0,
        metavar="S",
        help="length of a presentation (%(default)g)",
    )
    parser.add_argument("--recordings", type=Path, metavar="DIR", help="use recordings instead")
    parser.add_argument(
        "--labels", type=Path, metavar="CSV", help="list of the recordings (DIR/labels.csv)"
    )
    parser.add_argument(
        "--report",
        type=Path,
        default=Path("liveness-check"),
        metavar="DIR",
        help="folder of the report; a session that was interrupted continues in it (%(default)s)",
    )
    parser.add_argument(
        "--repeat",
        action="append",
        default=[],
        metavar="KIND[:N]",
        help="present a kind (living, print, …) again, or that of person N; may be repeated",
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep the frames in a new folder, mode 0700"
    )
    parser.add_argument(
        "--note", default="", metavar="TEXT", help="printed in the report: light, …"
    )
    parser.add_argument("--config", type=Path, help="settings, TOML (default: /etc/senyum)")
    parser.add_argument("--runtime", type=Path, default=RUNTIME, help=argparse.SUPPRESS)
    parser.set_defaults(func=run)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.5 <= seconds <= 60:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.5 to 60")
    return seconds


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(dict.fromkeys(text.split(",")))
    for kind in kinds:
        if not (kind.isascii() and kind.isalnum()) or kind == "living":
            raise argparse.ArgumentTypeError(f"{kind!r} is not a kind of attack")
    return kinds


def run(options: argparse.Namespace) -> int:
    from edge.settings import load

    settings = load(options.config)

    from datetime import datetime

    from edge.inference.models import Models
    from senyum_lab.evaluate.acceptance import assess
    from senyum_lab.evaluate.acceptance_report import as_text, describe, write

    models = Models(settings.inference.models)
    if "liveness" not in models.digests():
        raise SenyumError(
            "liveness: the installed models have no liveness network; "
            "install a build whose models/manifest.toml lists one"
        )
    rules = models.liveness_rules(settings.liveness)
    try:
        options.report.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--report {options.report}: {error.strerror}") from None
    if options.recordings is not None:
        presentations, notes = _recordings(options, settings)
        origin = f"Recordings in {options.recordings.resolve()}"
    else:
        presentations, notes = _session(options, settings, models.digests())
        origin = f"Camera of the unit ({settings.camera.driver})"
    judged = {one.living for one in presentations if one.accepted(rules) is not None}
    if judged != {True, False}:
        missing = "attack" if True in judged else "living person" if judged else "presentation"
        raise UsageError(
            f"no {missing} could be judged ({len(presentations)} presented): no error rates; "
            "both living people and attacks are needed, with the face in view and in good light"
        )
    result = assess(presentations, rules)
    now = f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
    report = describe(
        result,
        presentations,
        rules,
        source=settings.unit.source,
        facts=[f"{now}. {origin}.", *([options.note] if options.note else [])],
        notes=notes,
        model=models.spec("recapture").sha256,
    )
    paths = write(report, options.report)
    print(f"\n{as_text(report)}\n")
    for path in paths:
        print(escaped(path))
    return 1 if result.too_small or result.weak else 0


def _recordings(
    options: argparse.Namespace, settings: "Settings"
) -> "tuple[list[Presentation], list[str]]":
    from senyum_lab.evaluate.recordings import read_recordings

    for name in ("keep", "repeat"):
        if getattr(options, name):
            raise UsageError(f"--{name} belongs to a session with the camera, not to --recordings")
    labels = options.labels or options.recordings / "labels.csv"
    return read_recordings(options.recordings, labels, settings, _progress)


def _progress(done: int, total: int) -> None:
    print(f"{done} of {total} recordings judged", file=sys.stderr, flush=True)


def _session(
    options: argparse.Namespace, settings: "Settings", digests: "Mapping[str, str]"
) -> "tuple[list[Presentation], list[str]]":
    from edge.camera import open_camera
    from edge.capture.exposure import CameraController
    from edge.inference.models import liveness_rules
    from edge.inference.pipeline import Pipeline
    from edge.status.status_file import read
    from senyum_lab.evaluate.acceptance_report import repeated
    from senyum_lab.evaluate.guided_session import (
        FILE,
        GuidedSession,
        KeptFrames,
        SessionFile,
        plan,
    )
    from senyum_lab.evaluate.recordings import EmptyGallery

    if options.labels is not None:
        raise UsageError("--labels needs --recordings")
    if (daemon := read(options.runtime)) is not None:
        raise UsageError(
            f"the daemon (process {daemon.pid}) uses the camera and the lights; run: "
            "systemctl stop senyum senyum-fault; afterwards: systemctl start senyum senyum-fault"
        )
    # libcamera logs much that does not help a technician.
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:ERROR")
    steps = plan(options.people, options.kinds)
    file = SessionFile(options.report / FILE, digests)
    earlier = file.load()
    again = {step for step in steps for wanted in options.repeat if _matches(step, wanted)}
    if options.repeat and not again:
        raise UsageError(f"--repeat {options.repeat[-1]}: no such presentation in this session")
    results = {step: one for step, one in earlier.items() if step not in again}
    if earlier:
        print(f"Continuing: {len(results)} of {len(steps)} presentations are done.")
    kept = None
    if options.keep is not None:
        kept = KeptFrames(options.keep)
        print(
            f"{escaped(options.keep)} keeps pictures of faces: these are personal data. Delete the "
            "folder as soon as the result is settled."
        )
    with ExitStack() as opened:
        panel = _panel(settings)
        if panel is not None:
            opened.callback(panel.close)
        session = None
        if any(step not in results for step in steps):
            camera = open_camera(settings.camera)
            opened.callback(camera.close)
            session = GuidedSession(
                camera,
                Pipeline(settings.inference, EmptyGallery()),
                CameraController(settings.camera),
                liveness_rules(settings),
                panel=panel,
                kept=kept,
                seconds=options.seconds,
            )
            try:
                session.run(steps, results, file)
            except KeyboardInterrupt:
                print("\nInterrupted; the report covers what was presented.")
    count = len(again & results.keys()) + (session.repeated if session else 0)
    left = len([step for step in steps if step not in results])
    notes = [repeated(count)] if count else []
    notes += [f"Not presented: {left} of {len(steps)}."] if left else []
    return list(results.values()), notes


def _matches(step: "Step", wanted: str) -> bool:
    kind, _, person = wanted.partition(":")
    return step.kind == kind and person in ("", step.person)


def _panel(settings: "Settings") -> "ReconnectingPanel | None":
    """Return lights and buzzer; None, after a message, if there are none."""
    from edge.gpio.cue_player import CuePlayer
    from edge.gpio.reconnecting_panel import ReconnectingPanel

    try:
        panel = ReconnectingPanel(lambda: CuePlayer(settings.gpio))
    except GpioError as error:
        print(f"Without light and sound: {escaped(error)}")
        return None
    if panel.fault is not None:
        print(f"Without light and sound: {escaped(panel.fault)}")
    return panel
