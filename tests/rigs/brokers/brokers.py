"""The brokers of the rig: each a process on a loopback port, stopped and started again."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from private_servers import PrivateBroker, free_port

START_S = 60.0
STOP_S = 30.0


class Broker:
    """One broker: its files, its log and all that it keeps are in `folder`."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.cache = cache
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()

    def command(self) -> list[str]:
        """Return what starts it, in the foreground."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Return what its environment has beyond ours."""
        return {}

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, **self.environment()},
                start_new_session=True,
            )
        until = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return
            if self._process.poll() is not None or time.monotonic() > until:
                log_text = (self.folder / "log").read_text(errors="replace")
                raise SystemExit(f"{type(self).__name__} does not start:\n{log_text[-2000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End it in good order, or by force if that takes too long."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
            self.kill()

    def kill(self) -> None:
        """End it by force, with all that it started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(STOP_S)


class Mosquitto(PrivateBroker):
    """Debian's mosquitto."""

    def __init__(self, folder: Path, _cache: Path) -> None:
        super().__init__(folder)


class Nats(Broker):
    """Debian's nats-server, with JetStream and MQTT 3.1.1."""

    def command(self) -> list[str]:
        config = self.folder / "nats.conf"
        config.write_text(
            'server_name: rig\nlisten: "127.0.0.1:-1"\n'
            f'jetstream {{ store_dir: "{self.folder}" }}\n'
            f'mqtt {{ listen: "127.0.0.1:{self.port}", max_ack_pending: 1000 }}\n'
        )
        return ["nats-server", "-c", str(config)]


class RabbitMq(Broker):
    """Debian's rabbitmq-server with its MQTT plugin: its own cookie, its own epmd."""

    def __init__(self, folder: Path, cache: Path) -> None:
        super().__init__(folder, cache)
        self._amqp, self._dist, self._epmd = (free_port() for _ in range(3))

    def environment(self) -> dict[str, str]:
        config = self.folder / "rabbitmq.conf"
        config.write_text(
            f"listeners.tcp.default = 127.0.0.1:{self._amqp}\n"
            f"mqtt.listeners.tcp.default = 127.0.0.1:{self.port}\n"
            "mqtt.allow_anonymous = true\ndisk_free_limit.absolute = 1MB\n"
        )
        (self.folder / "plugins").write_text("[rabbitmq_mqtt].\n")
        return {
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "senyum-rig@localhost",
            "RABBITMQ_DIST_PORT": str(self._dist),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
        }

    def command(self) -> list[str]:
        return ["/usr/lib/rabbitmq/bin/rabbitmq-server"]

    def stop(self) -> None:
        super().stop()
        # The name server of Erlang went into the background, in a session of its own.
        environment = {**os.environ, "ERL_EPMD_PORT": str(self._epmd)}
        subprocess.run(["epmd", "-kill"], env=environment, check=False, capture_output=True)


class Aedes(Broker):
    """aedes, of npm, in a program of a few lines."""

    def command(self) -> list[str]:
        return ["node", str(self.cache / "aedes" / "aedes.mjs"), str(self.port)]


class Amqtt(Broker):
    """amqtt, of PyPI."""

    def command(self) -> list[str]:
        config = self.folder / "amqtt.yaml"
        config.write_text(
            "listeners:\n  default:\n    type: tcp\n"
            f"    bind: 127.0.0.1:{self.port}\n"
            "plugins:\n  amqtt.plugins.authentication.AnonymousAuthPlugin:\n"
            "    allow_anonymous: true\n"
        )
        return [str(self.cache / "amqtt" / "bin" / "amqtt"), "-c", str(config)]
