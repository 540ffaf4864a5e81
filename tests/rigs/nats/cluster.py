"""`senyum simulate` against three NATS nodes, one of which is killed in the middle of the rush."""

import argparse
import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from private_servers import free_port

from edge.mqtt.connection import connect_client, new_client
from edge.settings import BrokerSettings

START_SECONDS = 60.0
VICTIMS = ("first", "leader", "follower")
SHORT = ("--units", "30", "--people", "300", "--minutes", "1", "--speed", "3")
LONG = ("--units", "400", "--people", "7000", "--minutes", "15", "--speed", "10")
_BEGINS = re.compile(r"the rush begins: .* in (\d+) s")

CONFIG = """\
server_name: node-{number}
listen: 127.0.0.1:{clients}
http: 127.0.0.1:{http}
jetstream {{ store_dir: "{folder}" }}
cluster {{ name: senyum, listen: 127.0.0.1:{cluster}, routes: [{routes}] }}
lame_duck_grace_period: "2s"
lame_duck_duration: "30s"
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

    def retire(self) -> None:
        """Ask it to end in good order: it hands over what it leads, and then sends clients away."""
        if self.process is not None:
            self.process.send_signal(signal.SIGUSR2)

    def well(self) -> bool:
        """Whether its JetStream has caught up with a leader."""
        url = f"http://127.0.0.1:{self.http}/healthz"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2.0) as answer:
            return bool(answer.status == 200)
        return False

    def leaders(self) -> dict[str, int]:
        """Return which node leads each of the cluster's MQTT streams."""
        url = f"http://127.0.0.1:{self.http}/jsz?accounts=1&streams=1"
        with urllib.request.urlopen(url, timeout=5.0) as answer:
            accounts = json.load(answer)["account_details"]
        streams = [stream for account in accounts for stream in account["stream_detail"]]
        return {
            stream["name"]: int(stream["cluster"].get("leader", "node-0").removeprefix("node-"))
            for stream in streams
        }

    def step_down(self, stream: str) -> None:
        """Have the leader of a stream hand it over to another node."""
        ask = (
            f'CONNECT {{"verbose":false}}\r\nPUB $JS.API.STREAM.LEADER.STEPDOWN.{stream} 0\r\n\r\n'
        )
        with socket.create_connection(("127.0.0.1", self.clients), timeout=5.0) as wire:
            wire.sendall(ask.encode() + b"PING\r\n")
            while b"PONG" not in (said := wire.recv(4096)) and said:
                pass

    def lets_in(self) -> bool:
        """Whether an MQTT session can be had, for which the cluster must have its streams."""
        broker = BrokerSettings(host="127.0.0.1", port=self.mqtt)
        client = new_client(broker, f"warm-up-{self.number}", mqtt5=False)
        with contextlib.suppress(OSError):
            connect_client(client, broker)
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


def choose(nodes: list[Node], victim: str) -> Node:
    """Return the node to kill: the first, the one that leads the events' stream, or one without.

    A `follower` leads none of the streams that events and sessions need: it is made so.
    """
    if victim == "first":
        return nodes[0]
    if victim == "leader":
        return nodes[nodes[0].leaders()["$MQTT_msgs"] - 1]
    until = time.monotonic() + START_SECONDS
    while nodes[0].number in (led := nodes[0].leaders()).values() or 0 in led.values():
        if time.monotonic() > until:
            raise SystemExit(f"nats rig: the first node leads still: {led}")
        for stream, number in led.items():
            if number == nodes[0].number:
                nodes[0].step_down(stream)
        time.sleep(1.0)
    return nodes[0]


def simulate(nodes: list[Node], size: list[str], end: Callable[[], None] | None) -> dict[str, Any]:
    """Run the rush, and `end` a node in the middle of it."""
    brokers = [word for node in nodes for word in ("--broker", f"mqtt://127.0.0.1:{node.mqtt}")]
    command = [sys.executable, "-m", "edge.cli", "simulate", "--json", "--spread", *size, *brokers]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        sys.stderr.write(line)
        if end is not None and (found := _BEGINS.search(line)):
            killing = threading.Timer(int(found[1]) / 2, end)
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
    parser.add_argument(
        "--victim",
        choices=VICTIMS,
        default="first",
        help="which node dies: the first; the one that leads the stream of the events; or one that "
        "leads nothing (default: first)",
    )
    parser.add_argument("--orderly", action="store_true", help="retire the node, do not kill it")
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
        victim = None if options.no_kill else choose(nodes, options.victim)
        end = None
        if victim is not None:
            end = victim.retire if options.orderly else victim.kill
        figures = {
            "victim": victim and victim.number,
            "leaders": nodes[0].leaders(),
            **simulate(nodes, size, end),
        }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    good = bool(figures["good"])
    sys.stdout.write(f"nats rig: {int(good)} passed, {int(not good)} failed\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
