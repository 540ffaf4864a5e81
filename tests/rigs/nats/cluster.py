"""`senyum simulate` against three NATS nodes, one of which is killed in the middle of the rush."""

import argparse
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge.bench.broker import free_port
from edge.mqtt.client import connect, new_client
from edge.settings import BrokerSettings

START_SECONDS = 60.0
SHORT = ("--units", "30", "--people", "300", "--minutes", "1", "--speed", "3")
LONG = ("--units", "400", "--people", "7000", "--minutes", "15", "--speed", "10")
_BEGINS = re.compile(r"the rush begins: .* in (\d+) s")

CONFIG = """\
server_name: node-{number}
listen: 127.0.0.1:{clients}
http: 127.0.0.1:{http}
jetstream {{ store_dir: "{folder}" }}
cluster {{ name: senyum, listen: 127.0.0.1:{cluster}, routes: [{routes}] }}
mqtt {{ listen: 127.0.0.1:{mqtt}, max_ack_pending: 1000 }}
"""


class Node:
    """One member of the cluster."""

    def __init__(self, number: int, folder: Path) -> None:
        self.folder = folder / f"node-{number}"
        self.folder.mkdir()
        self.number = number
        self.clients, self.http, self.cluster, self.mqtt = (free_port() for _ in range(4))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, routes: str) -> None:
        ports = {name: getattr(self, name) for name in ("clients", "http", "cluster", "mqtt")}
        text = CONFIG.format(number=self.number, folder=self.folder, routes=routes, **ports)
        config = self.folder / "nats.conf"
        config.write_text(text, encoding="utf-8")
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(["nats-server", "-c", config], stdout=log, stderr=log)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def well(self) -> bool:
        """Whether its JetStream has caught up with a leader."""
        url = f"http://127.0.0.1:{self.http}/healthz"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2.0) as answer:
            return bool(answer.status == 200)
        return False

    def lets_in(self) -> bool:
        """Whether an MQTT session can be had, for which the cluster must have its streams."""
        broker = BrokerSettings(host="127.0.0.1", port=self.mqtt)
        client = new_client(broker, f"warm-up-{self.number}", five=False)
        with contextlib.suppress(OSError):
            connect(client, broker)
            until = time.monotonic() + 5.0
            while time.monotonic() < until and not client.is_connected():
                client.loop(0.2)
        let_in = client.is_connected()
        client.disconnect()
        return let_in


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[list[Node]]:
    nodes = [Node(number, folder) for number in (1, 2, 3)]
    routes = ", ".join(f'"nats-route://127.0.0.1:{node.cluster}"' for node in nodes)
    try:
        for node in nodes:
            node.start(routes)
        until = time.monotonic() + START_SECONDS
        while not (all(node.well() for node in nodes) and all(node.lets_in() for node in nodes)):
            if time.monotonic() > until:
                raise SystemExit(f"nats rig: no cluster within {START_SECONDS:.0f} s")
            time.sleep(0.5)
        yield nodes
    finally:
        for node in nodes:
            node.kill()


def simulate(nodes: list[Node], size: list[str], *, kill: bool) -> dict[str, Any]:
    """Run the rush, and kill the first node in the middle of it."""
    brokers = [word for node in nodes for word in ("--broker", f"mqtt://127.0.0.1:{node.mqtt}")]
    command = [sys.executable, "-m", "edge.cli", "simulate", "--json", "--spread", *size, *brokers]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        sys.stderr.write(line)
        if kill and (found := _BEGINS.search(line)):
            killing = threading.Timer(int(found[1]) / 2, nodes[0].kill)
            killing.start()
    out, _ = process.communicate()
    if not out:
        raise SystemExit("nats rig: the simulation failed; see above")
    figures: dict[str, Any] = json.loads(out)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true", help="400 units, 7,000 people; 3 minutes")
    parser.add_argument("--no-kill", action="store_true", help="let all three nodes live")
    parser.add_argument("--speed", help="times faster than the morning (default: 3; --long 10)")
    options = parser.parse_args()
    size = [
        *(LONG if options.long else SHORT),
        *(["--speed", options.speed] if options.speed else []),
    ]
    with (
        tempfile.TemporaryDirectory(prefix="senyum-nats-", dir="/var/tmp") as folder,
        cluster(Path(folder)) as nodes,
    ):
        figures = simulate(nodes, size, kill=not options.no_kill)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    good = bool(figures["good"])
    sys.stdout.write(f"nats rig: {int(good)} passed, {int(not good)} failed\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
