"""The consumers of docs/contract agree with the vectors; tests/rigs/contract tries them in full."""

import codecs
import csv
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.contract.jose import b64url
from edge.contract.keys import KeySet
from edge.errors import SecretError

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / ".cache" / "contract-rig" / "node" / "node_modules"
COMMANDS = {
    "python": [sys.executable, "-B", "consumers/python/verify.py"],
    "shell": ["bash", "consumers/shell/verify.sh"],
    "node": ["node", "consumers/node/verify.mjs"],
}
NEEDS = {"python": (), "shell": ("bash", "openssl", "jq", "iconv"), "node": ("node",)}


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    """Copy the contract with a few vectors: the first of each verdict, and whole series."""
    copy = tmp_path / "contract"
    shutil.copytree(ROOT / "docs" / "contract", copy, ignore=shutil.ignore_patterns("node_modules"))
    table = copy / "vectors" / "vectors.tsv"
    head, *lines = table.read_text(encoding="ascii").splitlines(keepends=True)
    kept, seen = [], set()
    for line in lines:
        name, series, _, _, _, verdict, *_ = line.split("\t")
        if series in {"chain-gap", "chain-fork", "moved-back"} or (
            name == series and verdict not in seen
        ):
            kept.append(line)
            seen.add(verdict)
    table.write_text("".join([head, *kept]), encoding="ascii")
    return copy


def missing(name: str) -> str | None:
    """Say what a consumer lacks here."""
    for program in NEEDS[name]:
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if name == "node" and not PACKAGES.is_dir():
        return "the packages of node are not there; run tests/rigs/contract/run"
    return None


def run(name: str, contract: Path) -> subprocess.CompletedProcess[str]:
    if why := missing(name):
        pytest.skip(why)
    if name == "node":
        (contract / "consumers" / "node" / "node_modules").symlink_to(PACKAGES)
    return subprocess.run(
        COMMANDS[name], cwd=contract, capture_output=True, text=True, check=False, timeout=110
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_a_consumer_says_what_is_expected(name: str, contract: Path) -> None:
    done = run(name, contract)
    with (contract / "vectors" / "vectors.tsv").open(encoding="ascii", newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))
    expected = [f"{row['name']} {row['verdict']} {row['missing']}" for row in rows]
    assert done.stdout.splitlines() == expected
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_consumer_trusts_its_own_key_set_alone(name: str, contract: Path) -> None:
    (contract / "vectors" / "keys.json").write_text(json.dumps({"keys": []}))
    done = run(name, contract)
    assert done.returncode == 1
    assert "genuine" not in done.stdout


def entries(contract: Path) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = json.loads((contract / "vectors" / "keys.json").read_text())[
        "keys"
    ]
    return keys


def spoilt(keys: list[dict[str, Any]], change: dict[str, Any], at: int = 0) -> bytes:
    """Return the set with a change to one of its keys, whose `kid` is right again."""
    entry = {**keys[at], **change}
    members = {name: entry[name] for name in ("crv", "kty", "x", "y") if name in entry}
    thumbprint = hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest()
    entry["kid"] = change.get("kid", b64url(thumbprint))
    return json.dumps({"keys": [*keys[:at], entry, *keys[at + 1 :]]}).encode()


ES256 = 1  # the place of such a key in the set
KEY_SETS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "no JSON": lambda _: b"{",
    "a list": lambda keys: json.dumps(keys).encode(),
    "a byte order mark": lambda keys: codecs.BOM_UTF8 + json.dumps({"keys": keys}).encode(),
    "a name twice": lambda keys: json.dumps({"keys": keys}).replace("{", '{"keys":[],', 1).encode(),
    "nested": lambda _: b'{"keys":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "small order": lambda keys: spoilt(keys, {"x": b64url(bytes(32))}),
    "the identity": lambda keys: spoilt(keys, {"x": b64url(b"\1" + bytes(31))}),
    "not canonical": lambda keys: spoilt(keys, {"x": b64url(b"\xee" + b"\xff" * 30 + b"\x7f")}),
    "not on the curve": lambda keys: spoilt(keys, {"x": keys[ES256]["y"]}, ES256),
    "another thumbprint": lambda keys: spoilt(keys, {"kid": keys[1]["kid"][::-1]}),
    "spelt otherwise": lambda keys: spoilt(keys, {"x": keys[0]["x"][:-1] + "B"}),
    "a key twice": lambda keys: json.dumps({"keys": [*keys, keys[0]]}).encode(),
    "a private key": lambda keys: spoilt(keys, {"d": keys[0]["x"]}),
    "nbf in 2019": lambda keys: spoilt(keys, {"nbf": 1_577_836_799}),
    "exp in 2100": lambda keys: spoilt(keys, {"exp": 4_102_444_801}),
    "exp beyond all": lambda keys: spoilt(keys, {"exp": 2**53}),
}


@pytest.mark.parametrize("kind", KEY_SETS)
def test_nobody_trusts_a_key_set_in_which_anything_is_wrong(kind: str, contract: Path) -> None:
    path = contract / "vectors" / "keys.json"
    path.write_bytes(KEY_SETS[kind](entries(contract)))
    with pytest.raises(SecretError, match=r"keys\.json"):
        KeySet.load(path)
    for name in COMMANDS:
        if missing(name):
            continue
        done = run(name, contract)
        assert (name, done.returncode, done.stdout) == (name, 1, "")
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "contract" / "consumers").rglob("*.*")))
def test_a_consumer_is_short(path: Path) -> None:
    if path.suffix in {".py", ".mjs", ".sh", ".jq"} and "node_modules" not in path.parts:
        assert len(path.read_text(encoding="utf-8").splitlines()) < 100
