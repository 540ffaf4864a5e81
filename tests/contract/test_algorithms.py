"""A library that lacks an algorithm is an error at the start, and no forgery."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from joserfc import jws

from edge.cli import main
from edge.contract import jose, keys
from edge.contract.keys import KeySet, SigningKey
from edge.contract.topics import UnitName
from edge.errors import AlgorithmMissing

UNIT = UnitName("a", "b", "c")


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Let each test try the algorithms again."""
    keys.require.cache_clear()
    yield
    keys.require.cache_clear()


def lack(alg: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave an algorithm out, as older releases of joserfc do."""
    present = [name for name in keys.ALGORITHMS if name != alg]
    monkeypatch.setattr(keys, "REGISTRY", jws.JWSRegistry(algorithms=present))


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("alg", keys.ALGORITHMS)
def test_a_key_of_an_algorithm_that_is_missing_is_not_read(
    alg: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = SigningKey.load_or_create(tmp_path / "key", alg)
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [key.registration(UNIT)]}))
    keys.require.cache_clear()
    lack(alg, monkeypatch)
    with pytest.raises(AlgorithmMissing, match=f"{alg}; install newer versions"):
        KeySet.load(path)
    with pytest.raises(AlgorithmMissing):
        SigningKey.load_or_create(tmp_path / "key", alg)
    with pytest.raises(AlgorithmMissing):
        SigningKey.load_or_create(tmp_path / "another", alg)


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("error", [UnsupportedAlgorithm("x"), ValueError("x"), AttributeError("x")])
def test_whatever_the_library_raises_it_is_said(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise error

    monkeypatch.setattr(jose.REGISTRY.get_alg("Ed25519"), "sign", fail)
    with pytest.raises(AlgorithmMissing):
        keys.require("Ed25519")


@pytest.mark.usefixtures("forgotten")
def test_the_receiver_says_so_at_its_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = SigningKey.load_or_create(tmp_path / "key")
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [key.registration(UNIT)]}))
    keys.require.cache_clear()
    lack("Ed25519", monkeypatch)
    options = ["--broker", "mqtt://127.0.0.1:1", "--keys", str(path), "--store", f"{tmp_path}/db"]
    assert main(["receive", *options]) == 1
    said = capsys.readouterr().err
    assert "cannot sign and verify Ed25519" in said
    assert "Traceback" not in said


def test_both_algorithms_are_there() -> None:
    for alg in keys.ALGORITHMS:
        keys.require(alg)
