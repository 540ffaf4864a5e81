"""`scripts/demo`: the command line."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

_DESCRIPTION = """\
Senyum from end to end on this machine: real networks, real signatures, a real broker.

Portraits are enrolled with `senyum enroll`, scenes are replayed into the real unit, and
`senyum receive` in another process verifies each event. The lights shown are those of the
pins (mock pins of gpiozero, unless --camera). The outcome of every scene is checked
against the central store and the pins; the exit status is 0 only if all checks pass.
"""


def options(words: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line. Exits with status 2 if it is invalid."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--plain", action="store_true", help="print lines instead of a screen, as in a pipe"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep frames, events and logs in this folder"
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="SVG",
        help="write a picture of one run, from photo to event",
    )
    live = parser.add_argument_group("on a Raspberry Pi", "the real camera and pins, until Ctrl-C")
    live.add_argument(
        "--camera",
        action="store_true",
        help="recognise people in front of the camera instead of playing scenes",
    )
    live.add_argument("--people", type=Path, metavar="CSV", help="columns number, name, exempt")
    live.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="<number>.jpg, one to five per person"
    )
    chosen = parser.parse_args(words)
    if len({chosen.camera, bool(chosen.people), bool(chosen.photos)}) > 1:
        parser.error("--camera, --people and --photos must be used together")
    if chosen.keep and chosen.keep.exists() and any(chosen.keep.iterdir()):
        parser.error(f"--keep {chosen.keep}: not empty; choose a new folder")
    return chosen


def main(words: Sequence[str] | None = None) -> int:
    """Run the demo. Returns 0, 1 if a check failed, or 2 for invalid options."""
    chosen = options(words)

    # Imported here so that --help needs no installed package.
    from edge.errors import SenyumError  # noqa: PLC0415
    from senyum_lab.demo.run import live, scenes  # noqa: PLC0415

    # SIGTERM stops the demo as Ctrl-C does, including its broker and receiver.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            folder = chosen.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            folder.mkdir(parents=True, exist_ok=True)
            if chosen.camera:
                return live(folder.resolve(), chosen.people, chosen.photos, plain=chosen.plain)
            return scenes(folder.resolve(), plain=chosen.plain, picture=chosen.picture)
    except SenyumError as error:
        print(f"demo: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("demo: interrupted; nothing was verified", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
