"""Run by `./run updates`: signed releases, good and broken, on a unit in a booted container.

Patience is shortened with `--watch-seconds`; all else is as in the field: the package, the units,
the daemon with its networks and its outbox, a broker, a receiver.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from booted import Rig
from container import until

from edge.appliance.update.release import make_key, write

STATED = {"machine": "x86_64", "made": "2026-01-02T03:04:05Z"}
WATCH = "senyum-update.service"
TRY = "update-try.service"
RUN = '    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")\n'
EXAMINE = "    settings = load_settings(config)\n"
STALL = """    def stall(self, timeout):
        __import__("time").sleep(timeout)
        raise __import__("edge.errors").errors.CameraStalled("broken")
    __import__("edge.capture.replay").replay.ReplayCamera.read = stall
"""
# The signed chain in the unit's own outbox, without a number left out.
CHAIN = """
import sqlite3, pathlib
from edge.outbox.integrity import check_integrity
file = pathlib.Path("/var/lib/senyum/outbox.db")
check_integrity(file, None)
db = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)
count, last = db.execute("SELECT count(*), max(sequence) FROM event").fetchone()
assert count == last, (count, last)
"""
# What is put into a version, before or after which line of which file; and how long it is watched.
BROKEN = {
    "crashes at its start": ("edge/cli/run.py", RUN, "    os._exit(3)\n", 20),
    "is never ready": ("edge/cli/run.py", RUN, '    __import__("time").sleep(9e9)\n', 20),
    "dies after 20 s": (
        "edge/cli/run.py",
        RUN,
        '    __import__("threading").Timer(20, os._exit, (3,)).start()\n',
        120,
    ),
    "is out of order": ("edge/cli/run.py", RUN, STALL, 40),
    "fails its self-test": (
        "edge/appliance/update/selftest.py",
        EXAMINE,
        '    raise CameraError("cannot see")\n',
        20,
    ),
}


class Updates(Rig):
    """A unit, and who signs releases for it."""

    def __init__(self, release: str, work: Path) -> None:
        super().__init__(release, work)
        self._key = work / "keys/release.key"
        self._stranger = work / "stranger.key"
        make_key(self._stranger, work / "stranger.json")
        unpacked = work / "unpacked"
        subprocess.run(["dpkg-deb", "-x", self.package, unpacked], check=True)
        self._packaged = unpacked / "usr/lib/senyum"
        (self._site,) = (self._packaged / "lib").glob("python3.*/site-packages")
        self._python = self._site.parent.name.removeprefix("python")
        self._minor = 1
        self.refused = 0
        self.cut = False

    # --- releases ---------------------------------------------------------------------------------

    def made(self, version: str, fault: tuple[str, str, str, int] | None = None) -> Path:
        """Make a release of this very package, of another version and perhaps broken."""
        tree = self.work / "tree"
        subprocess.run(["cp", "-a", "--reflink=auto", self._packaged, tree], check=True)
        site = tree / self._site.relative_to(self._packaged)
        (site / "edge/__init__.py").write_text(f'__version__ = "{version}"\n')
        if fault is not None:
            name, after, line, _ = fault
            text = (site / name).read_text()
            assert text.count(after) == 1, name
            (site / name).write_text(text.replace(after, after + line))
        to = self._signed(tree, version)
        shutil.rmtree(tree)
        return to

    def _signed(self, tree: Path, version: str, key: Path | None = None, **stated: str) -> Path:
        to = self.home / f"senyum-{version}.release"
        manifest = {**STATED, "version": version, "python": self._python, **stated}
        write(tree, to, manifest, key or self._key, preset=0)
        return to

    def small(self, version: str, key: Path | None = None, **stated: str) -> Path:
        """Make a release that is refused before it is unpacked."""
        tree = self.work / "small"
        tree.mkdir(exist_ok=True)
        return self._signed(tree, version, key, **stated)

    # --- asking the unit --------------------------------------------------------------------------

    def update(self, file: Path, *options: object) -> subprocess.CompletedProcess[str]:
        return self.box.attempt("senyum", "update", f"/root/{file.name}", *options, seconds=300.0)

    def begin(self, file: Path) -> None:
        """Begin an update that goes on by itself."""
        what = ["senyum", "update", f"/root/{file.name}", "--watch-seconds=20"]
        self.box.run("systemd-run", "--quiet", "--collect", f"--unit={TRY}", *what)

    def version(self) -> str:
        return self.box.run("senyum", "--version").split()[-1]

    def on_trial(self) -> bool:
        return (self.box.root / "var/lib/senyum-releases/pending.json").exists()

    def next_version(self) -> str:
        self._minor += 1
        return f"0.{self._minor}.0"

    def another(self) -> None:
        """Wait for one more verified event, with nobody missing in the chain."""
        self.another_event(len(self.events()))
        judge = ["runuser", "-u", "senyum", "--", "/usr/lib/senyum/bin/python3", "-I", "-c", CHAIN]
        self.box.run(*judge)
        if not self.cut:  # the broker in the container dies too, with what it had not passed on
            until("the chain is whole", self.chain_is_whole)

    def chain_is_whole(self) -> bool:
        lines = [json.loads(line) for line in self.received.read_text().splitlines()]
        numbers = {int(line["event"]["sequence"]) for line in lines if line.get("event")}
        return numbers == set(range(1, max(numbers) + 1))

    def goes_on(self, version: str) -> None:
        until("READY", self.is_ready, 90.0)
        assert self.version() == version, self.version()
        root_owned = self.box.sh("find /var/lib/senyum -not -user senyum")
        assert root_owned == "", root_owned
        self.another()

    # --- the checks, in order ---------------------------------------------------------------------

    def a_good_one_stays(self) -> None:
        version = self.next_version()
        file = self.made(version)
        began = time.monotonic()
        done = self.update(file, "--watch-seconds", 20)
        assert done.returncode == 0, done.stdout
        # Its self-test passed.
        assert "the current version fails too" not in done.stdout, done.stdout
        self.figures.append(f"update to READY: {time.monotonic() - began:.1f} s")
        until("the trial is over", lambda: not self.on_trial(), 120.0)
        self.goes_on(version)
        self.kept = version
        said = self.box.run("systemd-analyze", "security", "--no-pager", WATCH)
        self.figures.append(said.splitlines()[-1].strip("→ "))

    def a_version_that(self, what: str) -> Callable[[], None]:
        def check() -> None:
            version, fault = self.next_version(), BROKEN[what]
            file = self.made(version, fault)
            done = self.update(file, "--watch-seconds", fault[3])
            if done.returncode:
                assert "does not work here" in done.stdout, done.stdout
            else:
                until("it is taken back", lambda: not self.on_trial(), 240.0)
                told = self.box.run("journalctl", "--no-pager", f"--unit={WATCH}")
                assert f"version {version} is rolled back" in told, told
            file.unlink()
            self.goes_on(self.kept)
            left = self.box.root / "var/lib/senyum-releases/versions" / version
            until("it is removed", lambda: not left.exists())
            self.refused += 1

        check.__name__ = f"a version that {what}"
        return check

    def is_refused(self, what: str, make: Callable[[], Path], says: str) -> Callable[[], None]:
        def check() -> None:
            (before,) = self.box.shows("senyum.service", "MainPID")
            done = self.update(make())
            assert done.returncode == 2, done.stdout
            assert says in done.stdout, done.stdout
            assert self.box.shows("senyum.service", "MainPID") == [before]
            assert self.version() == self.kept
            self.refused += 1

        check.__name__ = what
        return check

    def truncated(self) -> Path:
        good = self.home / f"senyum-{self.kept}.release"
        to = good.with_name("truncated.release")
        to.write_bytes(good.read_bytes()[:-1000])
        return to

    def altered(self) -> Path:
        good = self.home / f"senyum-{self.kept}.release"
        content = bytearray(good.read_bytes())
        content[len(content) // 2] ^= 1
        to = good.with_name("altered.release")
        to.write_bytes(content)
        return to

    def cut_while(self, what: str, moment: Callable[[], None]) -> Callable[[], None]:
        """The machine dies during an update: a working version runs after the next boot."""

        def check() -> None:
            version = self.next_version()
            file = self.made(version)
            self.begin(file)
            moment()
            self.cut = True
            self.box.cut()
            self.box.power_off()
            self.box.boot()
            until("READY", self.is_ready, 90.0)
            until("the trial is over", lambda: not self.on_trial(), 120.0)
            assert self.version() in {self.kept, version}, self.version()
            self.kept = self.version()
            self.goes_on(self.kept)
            file.unlink()

        check.__name__ = f"a cut while {what}"
        return check

    def a_killed_update_leaves_the_service_to_a_timer(self) -> None:
        """kill -9 while the service is stopped: the timer that would start it again is armed."""
        version = self.next_version()
        file = self.made(version)
        self.begin(file)
        until("the service is stopped", lambda: not self.is_ready(), 120.0)
        self.box.run("systemctl", "kill", "--signal=KILL", TRY)
        timer = "senyum-update-return.timer"
        assert self.box.shows(timer, "ActiveState") == ["active"]
        self.box.run("systemctl", "start", "senyum-update-return.service")
        self.goes_on(self.kept)
        self.box.run("systemctl", "stop", timer)

    def the_package_again_leaves_the_newer_version(self) -> None:
        said = self.box.sh("apt-get install --reinstall -y ./senyum-edge_*.deb")
        assert f"version {self.kept}, installed by senyum update, is newer" in said, said
        self.goes_on(self.kept)

    def purging_removes_the_versions_and_says_so(self) -> None:
        said = self.box.run("apt-get", "purge", "-y", "senyum-edge")
        assert "permanently removing /var/lib/senyum-releases" in said, said
        assert not (self.box.root / "var/lib/senyum-releases").exists()

    def checks(self) -> list[Callable[[], None]]:
        after = self.box.root / "var/lib/senyum-releases"
        partial = lambda: any(after.glob("versions/.partial-*"))  # noqa: E731
        return [
            self.the_page_leads_to_a_verified_event,
            self.a_good_one_stays,
            self.is_refused("truncated", self.truncated, "bytes where"),
            self.is_refused("an altered byte", self.altered, "was altered"),
            self.is_refused(
                "another architecture",
                lambda: self.small("9.0.1", machine="aarch64"),
                "is made for aarch64",
            ),
            self.is_refused(
                "another key", lambda: self.small("9.0.2", self._stranger), "may not sign"
            ),
            self.is_refused("an older one", lambda: self.small("0.0.1"), "is not newer than"),
            *(self.a_version_that(what) for what in BROKEN),
            self.cut_while("it is unpacked", lambda: self._wait(partial)),
            self.cut_while("it is switched", lambda: self._wait(self.on_trial)),
            self.cut_while("it is watched", lambda: self._wait(self.on_trial, self.is_ready)),
            self.a_killed_update_leaves_the_service_to_a_timer,
            self.the_package_again_leaves_the_newer_version,
            self.purging_removes_the_versions_and_says_so,
        ]

    def told(self) -> list[str]:
        return [*self.figures, f"{self.refused} of 10 broken releases refused or rolled back"]

    def _wait(self, *conditions: Callable[[], bool]) -> None:
        until("the moment of the cut", lambda: all(each() for each in conditions), 120.0)


if __name__ == "__main__":
    sys.exit(Updates(sys.argv[1], Path(os.path.realpath(sys.argv[2]))).run())
