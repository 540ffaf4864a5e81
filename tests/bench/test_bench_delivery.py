from pathlib import Path

import pytest

from senyum_lab.bench.delivery import measure
from senyum_lab.bench.drain import measure as measure_drain
from senyum_lab.servers.mosquitto import PrivateBroker

pytestmark = [pytest.mark.broker, pytest.mark.slow]


def test_delivery_is_measured_on_a_disk() -> None:
    figures = measure(events=100)
    assert 0 < figures["events_per_s"] < figures["paho_events_per_s"] * 2
    assert min(figures["events_cpu_us"], figures["commit_per_s"]) > 0
    assert figures["commit_together_per_s"] > 0
    assert figures["message_bytes"] < figures["bytes_per_event"] < 16 * 1024
    assert figures["bytes_per_idle_hour"] <= 100 * 1024
    assert "write_bytes" in figures["method"]


def test_a_backlog_is_measured_beside_bare_mqtt(tmp_path: Path) -> None:
    figures = measure_drain(600, tmp_path)
    assert figures["backlog_events"] == 600
    assert figures["drain_ratio"] == pytest.approx(
        figures["drain_per_s"] / figures["drain_paho_per_s"], abs=0.001
    )
    assert list(tmp_path.iterdir()) == []


def test_a_private_broker_comes_back_on_its_port(tmp_path: Path) -> None:
    with PrivateBroker(tmp_path) as broker:
        port = broker.port
        broker.kill()
        assert not broker.running
        broker.start()
        assert broker.running
        assert broker.port == port
    assert not broker.running
