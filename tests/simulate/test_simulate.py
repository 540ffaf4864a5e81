"""Few units, the real parts of all of them, a real broker and `senyum receive` beside them."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge.cli import main
from edge.contract.keys import KeySet
from edge.errors import LinkError
from senyum_lab.servers.mosquitto import PrivateBroker
from senyum_lab.simulate.checks import stored_events
from senyum_lab.simulate.receivers import ReceiverProcess

pytestmark = pytest.mark.slow

FEW = ["--units", "6", "--people", "24", "--minutes", "0.5", "--speed", "30", "--processes", "2"]


@pytest.mark.broker
def test_a_small_morning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys, store = tmp_path / "keys.json", tmp_path / "central.db"
    more = ["--json", "--keys-out", str(keys), "--store", str(store)]
    assert main(["simulate", *FEW, *more]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["recorded"] == figures["stored"] == 24
    assert figures["good"] is True
    assert 0.0 < figures["median_ms"] <= figures["p99_ms"] <= figures["max_ms"]
    assert len(KeySet.load(keys)) == 6
    assert len(list(stored_events(store))) == 24


@pytest.mark.broker
def test_units_that_are_shared_out_over_two_brokers(
    broker: PrivateBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They know nothing of each other; each has a receiver, and the receivers one store."""
    store = tmp_path / "central.db"
    with PrivateBroker(tmp_path / "other") as other:
        each = [f"127.0.0.1:{broker.port}", f"mqtt://127.0.0.1:{other.port}"]
        brokers = [word for where in each for word in ("--broker", where)]
        assert main(["simulate", *FEW, *brokers, "--spread", "--store", str(store)]) == 0
    assert "nothing lost" in capsys.readouterr().out
    with closing(sqlite3.connect(store)) as db:
        assert db.execute("SELECT count(*) FROM event").fetchone() == (24,)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--units", "0"], "--units 0"),
        (["--speed", "nan"], "--speed nan"),
        (["--broker", "http://x"], "--broker"),
        (["--store", "/dev/null"], "already exists"),
    ],
)
def test_wrong_options(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_receiver_that_does_not_begin(tmp_path: Path) -> None:
    missing = ["--keys", str(tmp_path / "none"), "--store", str(tmp_path / "store")]
    with (
        pytest.raises(LinkError, match="none"),
        ReceiverProcess([["--broker", "127.0.0.1:1", *missing]], tmp_path / "receiver"),
    ):
        pass
