"""Run by ./run: every fault of the table on a whole unit, with how long it took to show."""

import os
import sys
import tempfile
import traceback
from pathlib import Path

from private_servers import PrivateBroker
from trial_site import Pictures, Site
from trial_table import BAR_S, FAULTS, NEEDS_ROOT, put_to


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a script that reports to a terminal


def main(chosen: list[str]) -> int:
    """Try the faults whose names hold a word of `chosen`, or all; returns the exit status."""
    pictures = Pictures.make()
    passed = failed = skipped = 0
    for name, fault in FAULTS.items():
        if chosen and not any(word in name for word in chosen):
            continue
        if name in NEEDS_ROOT and os.geteuid() != 0:
            skipped += 1
            say(f"skipped  {name}: needs root")
            continue
        with tempfile.TemporaryDirectory() as folder, PrivateBroker(Path(folder) / "broker") as b:
            try:
                with Site(Path(folder) / "site", pictures, b) as site:
                    verdict = put_to(fault, site)
            except Exception:  # noqa: BLE001 - the next one is tried all the same
                failed += 1
                traceback.print_exc()
                told = site.bulletin
                say(f"FAILED   {name}: {told and told.codes} {site.error}")
                continue
        late = verdict.after_s > BAR_S
        failed, passed = failed + late, passed + (not late)
        word = "TOO LATE" if late else "passed  "
        say(f"{word} {name} | {verdict.shown} | {verdict.after_s:.1f} s")
    say(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
