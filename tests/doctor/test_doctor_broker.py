"""The doctor at real brokers, and beside a daemon that is at work."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from diagnostic_fixture import make_context, make_status, outcome
from mqtt_servers import OLD_REFUSAL, ScriptedBroker, TcpProxy
from private_servers import PrivateBroker, free_port
from wireunit import Listener, Signer, WireUnit, attempt, until

from edge.appliance.doctor.broker import check_brokers
from edge.appliance.doctor.diagnostics import DiagnosticContext
from edge.cli import main
from edge.outbox.store import Outbox
from edge.settings import BrokerSettings

pytestmark = pytest.mark.broker


def recorded(folder: Path) -> None:
    """Have the unit of `make_context` record one event."""
    signer = Signer(folder)
    outbox = Outbox(folder / "outbox.db", signing_key=folder / "signing.key")
    outbox.append(partial(signer.sealer.event, attempt(1)))
    outbox.close()


def at(folder: Path, broker: BrokerSettings, **changes: Any) -> DiagnosticContext:
    return make_context(folder, {"broker": broker.model_dump(exclude_none=True)}, **changes)


def last(context: DiagnosticContext) -> tuple[str, str | None]:
    return outcome(list(check_brokers(context))[-1])


def test_events_are_let_in(broker: PrivateBroker, tmp_path: Path) -> None:
    context = at(tmp_path, broker.settings)
    assert last(context) == ("unchecked", None)  # nothing to try it with yet
    recorded(tmp_path)
    assert last(context) == ("bad", "no-receiver")
    with Listener(broker.settings) as listener:
        assert last(context) == ("good", None)
        until(lambda: len(listener.events()) == 1, 20.0)
        assert {topic for topic, _, _ in listener.messages} == {
            "senyum/v1/dinas/balai-kota/pintu-1/event"
        }


def test_an_access_list_that_forbids_them(tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic read senyum/#\n")
    recorded(tmp_path)
    with PrivateBroker(tmp_path / "broker", options=(f"acl_file {rules}",)) as broker:
        assert last(at(tmp_path, broker.settings)) == ("bad", "not-authorized")


def test_a_wrong_password(tmp_path: Path) -> None:
    options = ("allow_anonymous false", f"password_file {tmp_path / 'nobody'}")
    (tmp_path / "nobody").touch(0o600)
    with PrivateBroker(tmp_path / "broker", options=options) as broker:
        assert last(at(tmp_path, broker.settings))[0] == "bad"


def test_names_and_ports_that_lead_nowhere(tmp_path: Path) -> None:
    nobody = BrokerSettings(host="127.0.0.1", port=free_port())
    assert last(at(tmp_path, nobody)) == ("bad", "broker-unreachable")
    nameless = BrokerSettings(host="broker.invalid")
    assert last(at(tmp_path, nameless)) == ("bad", "broker-name-unknown")


def test_certificates_are_held_against_each_other(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    certificate, key = ours.issue("localhost")
    key.chmod(0o644)  # mosquitto gives up being root
    lines = (f"cafile {ours.pem}", f"certfile {certificate}", f"keyfile {key}")
    recorded(tmp_path)
    with PrivateBroker(tmp_path / "open", options=lines) as broker:
        tls: dict[str, Any] = {"host": "localhost", "port": broker.port, "tls": True}
        trusting = BrokerSettings(**tls, ca=ours.pem)
        assert last(at(tmp_path, trusting)) == ("bad", "no-receiver")  # so far it came
        wary = BrokerSettings(**tls, ca=theirs.pem)
        assert last(at(tmp_path, wary)) == ("bad", "broker-certificate-refused")
    with PrivateBroker(tmp_path / "shut", options=(*lines, "require_certificate true")) as broker:
        bare = BrokerSettings(host="localhost", port=broker.port, tls=True, ca=ours.pem)
        assert last(at(tmp_path, bare)) == ("bad", "certificate-refused")


def test_an_old_broker_is_spoken_to_as_it_can(broker: PrivateBroker, tmp_path: Path) -> None:
    recorded(tmp_path)
    with TcpProxy(broker.port, OLD_REFUSAL) as wire, Listener(broker.settings):
        assert last(at(tmp_path, wire.settings)) == ("good", None)
        assert wire.versions == [5, 4]


def test_one_that_takes_an_event_and_is_silent(tmp_path: Path) -> None:
    recorded(tmp_path)
    with ScriptedBroker(lambda _number, _time: None) as broker:
        assert last(at(tmp_path, broker.settings)) == ("bad", "broker-silent")


def test_the_daemon_at_work_is_not_disturbed(broker: PrivateBroker, tmp_path: Path) -> None:
    with Listener(broker.settings) as listener, WireUnit(tmp_path, broker.settings) as unit:
        unit.record(1)
        until(lambda: len(listener.events()) == 1, 20.0)
        told = make_status(link_up=False, broker="elsewhere:1")  # so that it does try
        assert last(at(tmp_path, broker.settings, daemon_status=told)) == ("good", None)
        until(lambda: len(listener.events()) == 2, 20.0)
        assert unit.changes == [True]
        here = f"127.0.0.1:{broker.port}"
        told = make_status(link_up=True, broker=here, codes=["no-receiver"], waiting=1)
        assert last(at(tmp_path, broker.settings, daemon_status=told)) == ("bad", "no-receiver")
        told = make_status(link_up=True, broker=here)
        assert last(at(tmp_path, broker.settings, daemon_status=told)) == ("good", None)
        assert len(listener.events()) == 2
    first, second = listener.events()
    assert first == second


def test_the_command_as_a_technician_sees_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "senyum.toml"
    config.write_text('[unit]\norg = "a"\n')
    common = ["--config", str(config), "--runtime", str(tmp_path)]
    assert main(["doctor", *common]) == 1
    assert "[settings-wrong]; run senyum provision" in capsys.readouterr().out
    config.write_text(
        '[unit]\norg = "a"\nsite = "b"\nname = "c"\n[broker]\nport = 1\n'
        f'[outbox]\nfile = "{tmp_path}/outbox.db"\nsigning_key = "{tmp_path}/signing.key"\n'
        f'[roster]\nfile = "{tmp_path}/roster"\nkey = "{tmp_path}/roster.key"\n'
        f'[camera]\ndriver = "replay"\nreplay = "{tmp_path}/none"\n'
    )
    assert main(["doctor", "--json", *common]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    found = {each["check"]: each for each in report["findings"]}
    assert found["models"]["verdict"] == "good"
    assert found["camera"]["code"] == "camera-lost"
    assert found["broker localhost:1"]["code"] == "broker-unreachable"
    assert not [each for each in report["findings"] if each["code"] == "internal"]
    assert main(["doctor", *common]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(report["findings"])
    assert any(line.startswith("BAD signing key: ") for line in lines)
    assert main(["doctor", "--loopback", "17", *common]) == 2
    assert "--loopback names the pin" in capsys.readouterr().err
