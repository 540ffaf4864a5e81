"""`scripts/demo`: its options."""

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
pins (gpiozero's mock pins, unless --camera). Every scene has an outcome that is checked
against the central store and the pins: the exit status is 0 only if all came true.
"""


def options(words: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; ends the program where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--plain", action="store_true", help="lines in place of the screen, as in a pipe"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="leave frames, events and logs in this folder"
    )
    parser.add_argument(
        "--picture", type=Path, metavar="SVG", help="write a picture of the way: photo to event"
    )
    live = parser.add_argument_group("on a Raspberry Pi", "the real camera and pins, until Ctrl-C")
    live.add_argument("--camera", action="store_true", help="no scenes: whoever stands there")
    live.add_argument("--people", type=Path, metavar="CSV", help="columns number, name, exempt")
    live.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="<number>.jpg, one to five a person"
    )
    chosen = parser.parse_args(words)
    if len({chosen.camera, bool(chosen.people), bool(chosen.photos)}) > 1:
        parser.error("--camera goes with --people and --photos: whom shall the unit know?")
    if chosen.keep and chosen.keep.exists() and any(chosen.keep.iterdir()):
        parser.error(f"--keep {chosen.keep}: is not empty; name a new folder")
    return chosen


def main(words: Sequence[str] | None = None) -> int:
    """Run the demo; returns its exit status: 0, 1 where a scene failed, 2 for wrong options."""
    chosen = options(words)

    # Imported here, so that --help needs nothing installed.
    from demo_show.run import live, scenes  # noqa: PLC0415
    from edge.errors import SenyumError  # noqa: PLC0415

    # SIGTERM ends the demo as Ctrl-C does: with its broker and receiver.
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
        print("demo: stopped before its end, so nothing is proved", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
