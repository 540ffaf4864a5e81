import socket
from pathlib import Path

from edge.system.sd_notify import Notifier


def test_it_speaks_the_protocol_and_repeats_no_status(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(1)
        notifier = Notifier({"NOTIFY_SOCKET": address})
        notifier.ready()
        notifier.status("Watching.")
        notifier.status("Watching.")
        notifier.watchdog()
        notifier.stopping()
        notifier.close()
        heard = [systemd.recv(200).decode() for _ in range(4)]
    assert heard == ["READY=1", "STATUS=Watching.", "WATCHDOG=1", "STOPPING=1"]


def test_it_is_silent_without_systemd_and_survives_its_restart(tmp_path: Path) -> None:
    Notifier({}).ready()
    gone = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    gone.watchdog()
    gone.close()


def test_an_abstract_address_works() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0senyum-test-notify")
        systemd.settimeout(1)
        notifier = Notifier({"NOTIFY_SOCKET": "@senyum-test-notify"})
        notifier.ready()
        notifier.close()
        assert systemd.recv(200) == b"READY=1"
