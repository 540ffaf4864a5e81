"""Run by ./run: the installed package under a booted systemd, check by check, with its figures."""

import json
import re
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from claimed import a_claim_leads_to_an_accepted_event
from container import Container, until

REPOSITORY = Path(__file__).resolve().parents[3]
RIGS = REPOSITORY / "tests/rigs"
FACES = REPOSITORY / "tests/faces"
sys.path.insert(0, str(RIGS / "picamera2"))
import daemon  # noqa: E402 - the pictures that the other rig shows

from edge import __version__  # noqa: E402

EXPOSURE = 1.5
INSTALL_S, BOOT_S = 60.0, 10.0
# Picamera2 on the virtual camera, where Raspberry Pi OS has python3-picamera2.
CAMERA = """[Service]
Environment=LD_PRELOAD=/opt/dma_heap.so LIBCAMERA_LOG_LEVELS=*:ERROR
ExecStart=
ExecStart=/usr/lib/senyum/bin/python3 -I -m virtual_camera run
"""
BLOCKS = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)  # of commands in a page
OURS = re.compile(r"python3\.\d+/site-packages/([^/]+)/?")


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a script that reports to a terminal


class Rig:
    """One release: the container, its package, and what was received from its unit."""

    def __init__(self, release: str, work: Path) -> None:
        self.release, self.work = release, work
        (self.package,) = (work / "packages").glob("*.deb")
        self.box = Container(work / "root", work / "console.log")
        self.received = work / "received.jsonl"
        self.received.touch()
        self.home = self.box.root / "root"
        self.figures: list[str] = []
        self.camera = ""  # the drop-in that puts Picamera2 before the daemon, once it is lent

    # --- what the checks share ------------------------------------------------------------------

    def events(self, kind: str = "senyum.attendance.recorded.v1") -> list[dict[str, Any]]:
        """Return the verified events of `kind` so far; one that was sent again counts once."""
        lines = self.received.read_text().splitlines(keepends=True)
        verified = (json.loads(line).get("event") or {} for line in lines if line.endswith("\n"))
        return list({e["id"]: e for e in verified if e.get("type") == kind}.values())

    def is_ready(self) -> bool:
        said = self.box.attempt("systemctl", "is-active", "senyum.service").stdout.strip()
        return said == "active"

    def restarts(self) -> int:
        return int(self.box.shows("senyum.service", "NRestarts")[0])

    def receiving(self) -> Any:
        return self.box.serving(
            self.received,
            *("receive", "--json", "--broker", "127.0.0.1", "--grace", "600"),
            *("--keys", self.home / "keys.json", "--store", self.home / "central.db"),
        )

    def another_event(self, before: int) -> None:
        with self.receiving():
            until("another verified event", lambda: len(self.events()) > before)

    def drop_in(self, name: str, text: str) -> None:
        folder = self.box.root / "etc/systemd/system/senyum.service.d"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    def prepare(self) -> None:
        """What the page takes for granted: the package and portraits."""
        # How the root was made is nothing to the apt inside.
        (self.box.root / "etc/apt/apt.conf.d/99mmdebstrap").unlink(missing_ok=True)
        shutil.copy(self.package, self.home)
        shutil.copytree(FACES, self.home / "faces")

    def lend_picamera2(self) -> None:
        """Put Picamera2 and what it needs where the distribution's would be."""
        listed = subprocess.run(
            ["dpkg-deb", "-c", self.package], check=True, capture_output=True, text=True
        )
        ours = set(OURS.findall(listed.stdout))
        # That rig installed this project too, with the server.
        ours |= {"senyum_central", f"senyum_edge-{__version__}.dist-info"}
        root = self.box.root
        system = root / "usr/local/lib/python3.13/dist-packages"
        for entry in (root / "opt/venv/lib/python3.13/site-packages").iterdir():
            if entry.name not in ours and entry.suffix != ".pth":
                inside = Path("/opt/venv/lib/python3.13/site-packages") / entry.name
                (system / entry.name).symlink_to(inside)
        for name in ("pykms.py", "virtual_camera.py"):
            shutil.copy(RIGS / "picamera2" / name, system)
        yaml = (RIGS / "picamera2/virtual.yaml").read_text()
        pipeline = root / "usr/share/libcamera/pipeline/virtual"
        pipeline.mkdir(parents=True, exist_ok=True)
        (pipeline / "virtual.yaml").write_text(yaml.replace("/tmp/frames/", "/srv/frames/"))

    # --- the checks, in order ---------------------------------------------------------------------

    def the_page_leads_to_a_verified_event(self) -> None:
        """docs/install.md, word for word; install to READY is the sum of two of its steps."""
        page = (REPOSITORY / "docs/install.md").read_text(encoding="utf-8")
        took = 0.0
        for block in BLOCKS.findall(page):
            began = time.monotonic()
            said = self.box.sh(block)
            if block.startswith(("apt-get install", "systemctl start")):
                took += time.monotonic() - began
            if block.startswith("apt-get install"):
                assert "waiting to be provisioned" in said, said
        assert self.is_ready()
        self.figures.append(f"install to READY, offline: {took:.1f} s (bar {INSTALL_S:.0f})")
        assert took <= INSTALL_S, took
        self.another_event(0)

    def picamera2_delivers_under_confinement(self) -> None:
        self.lend_picamera2()
        daemon.show(FACES / "obama2.jpg", self.box.root / "srv/frames")
        settings = self.box.root / "etc/senyum/senyum.toml"
        replay = re.compile(r'driver = "replay"\nreplay = .*\nreplay_loop = true\n')
        settings.write_text(replay.sub('driver = "picamera2"\n', settings.read_text()))
        self.camera = CAMERA
        self.drop_in("rig.conf", self.camera)
        seen = len(self.events())
        # As it started the virtual camera took the process with it once, and not in a hundred
        # further starts; the unit comes back by itself, which is what counts, and it is told.
        self.box.sh("systemctl daemon-reload; systemctl restart senyum || true")
        self.another_event(seen)
        if again := self.restarts():
            self.figures.append(f"crashes before the virtual camera delivered: {again}")

    def confinement_is_within_the_bar(self) -> None:
        for name in ("senyum", "senyum-fault", "senyum-power", "senyum-clock"):
            assert self.box.shows(f"{name}.service", "ActiveState") == ["active"], name
            said = self.box.run("systemd-analyze", "security", "--no-pager", f"{name}.service")
            found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
            assert found is not None, said
            self.figures.append(f"exposure of {name}: {found[1]} (bar {EXPOSURE})")
            assert float(found[1]) <= EXPOSURE, (name, found[1])

    def a_killed_daemon_is_back_and_the_light_tells_meanwhile(self) -> None:
        seen, before = len(self.events()), self.restarts()
        # The whole control group would be what runs after the end too, which tells of it.
        self.box.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "senyum.service")
        told = until("the fault light tells", lambda: self.fault_lines("out of order") > 0)
        until("the daemon is back", lambda: self.restarts() > before and self.is_ready())
        until("the fault light ends", lambda: self.fault_lines("is running again") > 0)
        self.figures.append(f"kill -9 to the out-of-order light: {told:.1f} s")
        self.another_event(seen)
        self.told_why("signal")

    def told_why(self, why: str) -> None:
        """Wait until the chain says that the run before ended so."""

        def said() -> bool:
            audits = (event["data"] for event in self.events("senyum.unit.audit.v1"))
            ends = (data["detail"] for data in audits if data["code"] == "restarted")
            return any(detail["why"] == why for detail in ends)

        with self.receiving():
            until(f"the chain tells of the {why}", said)

    def fault_lines(self, words: str) -> int:
        said = self.box.run("journalctl", "--no-pager", "--unit=senyum-fault.service")
        return said.count(words)

    def a_frozen_daemon_is_started_anew_by_the_watchdog(self) -> None:
        self.drop_in("watchdog.conf", "[Service]\nWatchdogSec=10\n")
        self.box.sh("systemctl daemon-reload; systemctl restart senyum")
        before = self.restarts()
        self.box.run("systemctl", "kill", "--signal=STOP", "--kill-whom=main", "senyum.service")
        until("the watchdog bites", lambda: self.restarts() > before and self.is_ready())
        assert "watchdog" in self.box.run("journalctl", "--no-pager", "--unit=senyum.service")
        assert (self.box.root / "run").exists()
        assert self.box.run("wc", "-l", "/run/senyum/strikes").startswith("1 ")
        self.told_why("watchdog")

    def a_sealed_credential_serves(self) -> None:
        """The roster key encrypted with the host's key, as docs/operations.md says."""
        page = (REPOSITORY / "docs/operations.md").read_text(encoding="utf-8")
        (seal,) = (block for block in BLOCKS.findall(page) if "roster.key" in block)
        self.box.sh(seal)
        until("READY with the sealed key", self.is_ready)
        assert not (self.box.root / "etc/senyum/roster.key").exists()

    def the_last_resort_reboots_three_times_and_no_more(self) -> None:
        """Asked for as the daemon's user; process 1 decides."""
        reboots = self.box.root / "var/lib/private/senyum-rescue/reboots"
        self.box.run("runuser", "-u", "senyum", "--", "touch", "/run/senyum/rescue")
        until("the machine goes down", self.box.ended)
        assert len(reboots.read_text().splitlines()) == 1
        self.box.power_off()
        self.box.boot()
        reboots.write_text(f"{time.time():.0f}\n" * 3)
        self.box.run("runuser", "-u", "senyum", "--", "touch", "/run/senyum/rescue")
        refused = ["journalctl", "--no-pager", "--unit=senyum-rescue.service", "--boot"]
        until("it is refused", lambda: "no reboot: 3 in the last" in self.box.run(*refused))
        assert not self.box.ended()

    def a_boot_leads_to_ready(self) -> None:
        until("READY", self.is_ready)
        began = int(self.box.shows("", "UserspaceTimestampMonotonic")[0])
        ready = int(self.box.shows("senyum.service", "ActiveEnterTimestampMonotonic")[0])
        took = (ready - began) / 1e6
        self.figures.append(f"boot to READY: {took:.1f} s (bar {BOOT_S:.0f})")
        assert took <= BOOT_S, took

    def an_upgrade_goes_on_where_it_was(self) -> None:
        newer = self.work / "newer.deb"
        unpacked = self.work / "unpacked"
        subprocess.run(["dpkg-deb", "-R", self.package, unpacked], check=True)
        control = unpacked / "DEBIAN/control"
        control.write_text(control.read_text().replace("-1+deb", "-2+deb"))
        command = [
            "dpkg-deb",
            "--root-owner-group",
            "-Znone",
            "--build",
            *map(str, (unpacked, newer)),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(unpacked)
        shutil.move(newer, self.home / "newer.deb")
        seen = len(self.events())
        (before,) = self.box.shows("senyum.service", "MainPID")
        self.box.sh("apt-get install -y ./newer.deb")
        until(
            "the new one is ready",
            lambda: self.is_ready() and self.box.shows("senyum.service", "MainPID") != [before],
        )
        assert "-2+deb" in self.box.run("dpkg-query", "-W", "senyum-edge")
        self.another_event(seen)
        numbers = [int(event["sequence"]) for event in self.events()]
        assert numbers == sorted(set(numbers)), numbers

    def removal_keeps_state_and_coming_back_goes_on(self) -> None:
        said = self.box.run("apt-get", "remove", "-y", "senyum-edge")
        assert "apt purge senyum-edge removes them" in said, said
        assert not self.is_ready()
        for path in ("usr/lib/senyum", "usr/bin/senyum"):
            assert not (self.box.root / path).exists(), path
        for path in ("var/lib/senyum/signing.key", "var/lib/senyum/outbox.db", "etc/senyum"):
            assert (self.box.root / path).exists(), path
        seen = len(self.events())
        self.box.sh("apt-get install -y ./newer.deb")
        until("it is ready again", self.is_ready)
        self.another_event(seen)

    def purging_says_what_goes_and_leaves_nothing(self) -> None:
        said = self.box.run("apt-get", "purge", "-y", "senyum-edge")
        for name in ("/var/lib/senyum/signing.key", "/etc/senyum/senyum.toml"):
            assert name in said, said
        left = self.box.sh("find /etc /var/lib /usr /run -name '*senyum*' -not -path '/*/dpkg/*'")
        assert left == "", left

    def a_claim_on_the_boot_partition_is_all_it_takes(self) -> None:
        a_claim_leads_to_an_accepted_event(self)

    def checks(self) -> list[Any]:
        camera = [self.picamera2_delivers_under_confinement] if self.release == "trixie" else []
        return [
            self.the_page_leads_to_a_verified_event,
            *camera,
            self.confinement_is_within_the_bar,
            self.a_killed_daemon_is_back_and_the_light_tells_meanwhile,
            self.a_frozen_daemon_is_started_anew_by_the_watchdog,
            self.a_sealed_credential_serves,
            self.the_last_resort_reboots_three_times_and_no_more,
            self.a_boot_leads_to_ready,
            self.an_upgrade_goes_on_where_it_was,
            self.removal_keeps_state_and_coming_back_goes_on,
            self.purging_says_what_goes_and_leaves_nothing,
            self.a_claim_on_the_boot_partition_is_all_it_takes,
        ]

    def told(self) -> list[str]:
        """Return what was measured, a sentence each."""
        return self.figures

    def run(self) -> int:
        """Run every check; each needs those before it, so the first failure ends it.

        Returns the exit status, 1 after a failure.
        """
        passed = failed = 0
        try:
            self.prepare()
            self.box.boot()
            for check in self.checks():
                began = time.monotonic()
                check()
                passed += 1
                say(f"passed  {check.__name__} ({time.monotonic() - began:.1f} s)")
        except Exception:  # noqa: BLE001 - said below, with what the unit wrote
            traceback.print_exc()
            failed = 1
            if not self.box.ended():
                say(self.box.attempt("journalctl", "--no-pager", "-n80", "-u", "senyum*").stdout)
        finally:
            self.box.power_off()
        for figure in self.told():
            say(f"{self.release}: {figure}")
        say(f"{passed} passed, {failed} failed")
        return failed


def main(release: str, work: Path) -> int:
    """Run every check of one release."""
    rig = Rig(release, work)
    rig.figures.append(f"package: {rig.package.stat().st_size / 1e6:.1f} MB")
    return rig.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
