"""The confinement of the services around real pins: run as confined.py DEBIAN CACHE FOLDER.

DEBIAN is a root with systemd, CACHE what tree.py laid out. The emulated Raspberry Pi boots systemd,
which starts the shipped units; what the pins then do is read from outside, as in watch.py.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby, pairwise
from pathlib import Path

from watch import Record, watch

from edge.appliance.watchdog.fault_led import RHYTHM
from edge.settings import GpioSettings

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
LIB = "usr/lib/senyum"
SITE = f"{LIB}/lib/python3.11/site-packages"
# Of Debian's root: what a look at it is for, and what would only take time at the boot.
LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/lib/python3.11/test")
MASKED = (
    "dbus.service",
    "dbus.socket",
    "e2scrub_reap.service",
    "getty.target",
    "ldconfig.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-networkd.service",
    "systemd-timesyncd.service",
    "systemd-update-done.service",
)
PLAY = """[Service]
Type=exec
ExecStart=
ExecStart=/usr/lib/senyum/bin/python3 -I /opt/rig/confined_play.py
ExecStopPost=
Restart=no
WatchdogSec=0
LoadCredential=
"""
RIG = """[Service]
Type=exec
ExecStart=/usr/bin/python3.11 /opt/rig/confined_guest.py
StandardOutput=journal+console
StandardError=journal+console
"""
SHORTEST_S = 0.08  # what is shorter is a pulse, or a pause between two
LONG_S = 0.45  # between the fault light's short and its long


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a script that reports to a terminal


def lay_out(debian: Path, cache: Path, root: Path) -> None:
    """Make a root that boots systemd with our units, our pins, and what tries them."""
    shutil.rmtree(root, ignore_errors=True)
    subprocess.run(["cp", "-a", "--reflink=auto", debian, root], check=True)
    for name in LEFT_OUT:
        shutil.rmtree(root / name, ignore_errors=True)
    (root / LIB / "bin").mkdir(parents=True)
    (root / LIB / "bin/python3").symlink_to("/usr/bin/python3.11")
    (root / LIB / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.11\n")
    shutil.copytree(cache / "root/opt/site", root / SITE)
    units = root / "etc/systemd/system"
    wanted = units / "multi-user.target.wants"
    wanted.mkdir(parents=True, exist_ok=True)
    for unit in (REPOSITORY / "systemd").glob("*.service"):
        shutil.copy(unit, root / "usr/lib/systemd/system")
    for kind in ("sysusers.d", "tmpfiles.d"):
        shutil.copy(REPOSITORY / f"systemd/{kind}/senyum.conf", root / f"usr/lib/{kind}")
    rules = root / "usr/lib/udev/rules.d"
    rules.mkdir(parents=True, exist_ok=True)
    shutil.copy(REPOSITORY / "systemd/udev/60-senyum.rules", rules)
    subprocess.run(["systemd-sysusers", f"--root={root}"], check=True, capture_output=True)
    fault = (REPOSITORY / "systemd/senyum-fault.service").read_text(encoding="utf-8")
    closed = fault.replace("DeviceAllow=char-gpiochip rw\n", "")
    assert closed != fault
    (units / "senyum-fault-closed.service").write_text(closed)
    (units / "senyum.service.d").mkdir()
    (units / "senyum.service.d/rig.conf").write_text(PLAY)
    (units / "rig.service").write_text(RIG)
    for name in ("rig.service", "senyum-fault.service"):
        at = "/etc/systemd/system" if name == "rig.service" else "/usr/lib/systemd/system"
        (wanted / name).symlink_to(f"{at}/{name}")
    for name in MASKED:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")
    (root / "opt/rig").mkdir(parents=True)
    for name in ("confined_guest.py", "confined_play.py"):
        shutil.copy(HERE / name, root / "opt/rig")
    (root / "etc/senyum").mkdir()
    (root / "etc/senyum/senyum.toml").write_text("[unit]\n")  # enough to have been told
    (root / "etc/machine-id").write_text("")
    (root / "etc/hostname").write_text("rig\n")
    (root / "init").symlink_to("/lib/systemd/systemd")


def boot(root: Path, cache: Path, folder: Path) -> Record:
    """Pack the root, and run the machine from it; returns what was seen."""
    names = subprocess.run(["find", ".", "-print0"], cwd=root, check=True, capture_output=True)
    with (folder / "initrd").open("wb") as out:  # not compressed: unpacking is emulated
        pack = ["cpio", "--null", "--create", "--format=newc", "--quiet"]
        subprocess.run(pack, cwd=root, check=True, input=names.stdout, stdout=out)
    for name in ("kernel", "pi3.dtb"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(cache / name)
    return watch(folder)


def spans(record: Record, unit: str, pin: int) -> list[tuple[float, float]]:
    """Return begin and length of each time that a pin was high while a unit was watched."""
    at = {words[0]: when for when, words in record.words if words[1:] == [unit]}
    during = [
        (when, bits >> pin & 1) for when, bits in record.levels if at["BEGIN"] < when < at["END"]
    ]
    edges = [next(group)[0] for _, group in groupby(during, key=lambda level: level[1])]
    edges = [*edges, during[-1][0]]
    first = during[0][1]
    lit = [
        (begin, end - begin)
        for number, (begin, end) in enumerate(pairwise(edges))
        if (number + first) % 2 == 1
    ]
    return [(begin, length) for begin, length in lit if length >= SHORTEST_S]


def checks(record: Record) -> Iterator[tuple[str, bool]]:
    """Yield what was looked at, and whether it held."""
    pins, said = GpioSettings(), {" ".join(words) for _, words in record.words}
    rhythm = "".join("l" if s > LONG_S else "s" for lit, s in RHYTHM if lit)
    lengths = [length for _, length in spans(record, "senyum-fault", pins.red)]
    seen = "".join("l" if length > LONG_S else "s" for length in lengths)
    yield "the chip is the Raspberry Pi's own driver", "CHIP brcm,bcm2835-gpio" in said
    yield f"the confined fault light plays its rhythm ({seen})", rhythm in seen
    yield "and is red alone", not spans(record, "senyum-fault", pins.green)
    yield "without its DeviceAllow= it is refused the pins", "REFUSED True" in said
    yield "and nothing is lit then", not spans(record, "senyum-fault-closed", pins.red)
    yield "under the daemon's confinement our pins play", "PLAYED True" in said
    green, red = (spans(record, "senyum", pin) for pin in (pins.green, pins.red))
    yield "recorded: green, long", len(green) == 1 and green[0][1] > 1.0
    after = [begin for begin, _ in red if green and begin > green[0][0]]
    yield f"not known: red, twice ({len(red)})", len(red) == len(after) == 2
    for line in sorted(said):
        if line.startswith("EXPOSURE"):
            say(f"pi3 rig: {line.lower()}")


def main(debian: Path, cache: Path, folder: Path) -> int:
    """Lay out, boot, judge; returns the exit status."""
    folder.mkdir(exist_ok=True)
    lay_out(debian, cache, folder / "root")
    failed = passed = 0
    for what, held in checks(boot(folder / "root", cache, folder)):
        say(f"{'passed' if held else 'FAILED'}  {what}")
        passed, failed = passed + held, failed + (not held)
    say(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*(Path(word) for word in sys.argv[1:])))
