"""A Debian root booted by systemd-nspawn, without a network, and commands run inside it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}


def until(what: str, asked: Callable[[], bool], seconds: float = 60.0) -> float:
    """Wait for `asked` to be true; returns after how many seconds it was. Raises AssertionError."""
    began = time.monotonic()
    while not asked():
        assert time.monotonic() - began < seconds, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)
    return time.monotonic() - began


class Container:
    """One container; `boot` starts it, `power_off` ends it."""

    def __init__(self, root: Path, log: Path) -> None:
        self.root, self._log = root, log
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._broker: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        """Start it, wait until systemd is content, and start its broker."""
        command = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"]
        command += ["--console=pipe", "--private-network", f"--directory={self.root}"]
        command += ["--system-call-filter=adjtimex clock_adjtime"]  # to be asked, not set
        command += ["--machine=senyum-rig", "--resolv-conf=off", "--timezone=off"]
        with self._log.open("ab") as log:
            self._nspawn = subprocess.Popen(
                command,
                env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until("the container boots", self._is_up)
        listen = ["nsenter", f"--target={self._systemd()}", "--net", "mosquitto", "-p", "1883"]
        path = f"{os.environ['PATH']}:/usr/sbin"
        with self._log.open("ab") as log:
            self._broker = subprocess.Popen(
                listen, env=os.environ | {"PATH": path}, stdout=log, stderr=log
            )

    def _systemd(self) -> str:
        """Return the process id, out here, of the container's process 1."""
        assert self._nspawn is not None
        own = self._nspawn.pid
        children = Path(f"/proc/{own}/task/{own}/children").read_text(encoding="ascii").split()
        for child in children:
            if Path(f"/proc/{child}/comm").read_text(encoding="ascii").strip() == "systemd":
                return child
        raise ProcessLookupError

    def _is_up(self) -> bool:
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, f"systemd-nspawn ended; see {self._log}"
        try:
            said = self.attempt("systemctl", "is-system-running").stdout.strip()
        except (ProcessLookupError, FileNotFoundError, subprocess.TimeoutExpired):
            return False
        return said in {"running", "degraded"}

    def _inside(self, command: tuple[object, ...], *spaces: str) -> list[str]:
        enter = ["nsenter", f"--target={self._systemd()}", "--wdns=/root", *spaces]
        return [*enter, *map(str, command)]

    def attempt(self, *command: object, seconds: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run a command inside; both its outputs are in `stdout`."""
        return subprocess.run(
            self._inside(command, "--all"),
            check=False,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )

    def run(self, *command: object) -> str:
        """Run a command inside that must succeed; returns what it printed."""
        done = self.attempt(*command)
        assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}"
        return done.stdout

    def sh(self, script: str) -> str:
        """Run a script inside that must succeed."""
        return self.run("bash", "-euc", script)

    def shows(self, unit: str, *names: str) -> list[str]:
        """Return properties of a unit, or without a name of process 1 itself."""
        about = [unit] if unit else []
        options = [f"--property={name}" for name in names]
        said = self.run("systemctl", "show", *about, *options).splitlines()
        values = dict(line.split("=", 1) for line in said if "=" in line)
        return [values[name] for name in names]

    def _server(self, arguments: tuple[object, ...]) -> list[str]:
        senyum = Path(sys.executable).with_name("senyum")  # the package has no server commands
        return ["nsenter", f"--target={self._systemd()}", "--net", *map(str, (senyum, *arguments))]

    def server(self, *arguments: object) -> str:
        """Run a server command of this checkout in the container's network; return its output."""
        return subprocess.run(
            self._server(arguments), check=True, capture_output=True, text=True, timeout=120.0
        ).stdout

    @contextmanager
    def serving(self, output: Path, *arguments: object) -> Iterator[None]:
        """Run a server command meanwhile, with its output in a file."""
        with output.open("ab") as out:
            # nsenter becomes the program, which is terminated below.
            process = subprocess.Popen(
                self._server(arguments), stdout=out, stderr=self._log.open("ab")
            )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30.0)

    def cut(self) -> None:
        """Kill process 1, and so everything in it, at once: nothing is told, nothing written."""
        os.kill(int(self._systemd()), signal.SIGKILL)
        assert self._nspawn is not None
        self._nspawn.wait(30.0)

    def ended(self) -> bool:
        """Whether the container is no longer running."""
        return self._nspawn is None or self._nspawn.poll() is not None

    def power_off(self) -> None:
        """End it, in order where that can be."""
        if self._broker is not None:
            self._broker.kill()
            self._broker.wait()
            self._broker = None
        if self._nspawn is not None:
            self._nspawn.terminate()  # nspawn asks for an orderly shutdown
            try:
                self._nspawn.wait(20.0)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait()
            self._nspawn = None
