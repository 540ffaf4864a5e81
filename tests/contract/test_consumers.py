"""The consumers of docs/contract agree with the vectors; tests/rigs/contract tries them in full."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
        if series in {"chain-gap", "chain-fork"} or (name == series and verdict not in seen):
            kept.append(line)
            seen.add(verdict)
    table.write_text("".join([head, *kept]), encoding="ascii")
    return copy


def run(name: str, contract: Path) -> subprocess.CompletedProcess[str]:
    for program in NEEDS[name]:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if name == "node":
        if not PACKAGES.is_dir():
            pytest.skip("the packages of node are not there; run tests/rigs/contract/run")
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


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "contract" / "consumers").rglob("*.*")))
def test_a_consumer_is_short(path: Path) -> None:
    if path.suffix in {".py", ".mjs", ".sh", ".jq"} and "node_modules" not in path.parts:
        assert len(path.read_text(encoding="utf-8").splitlines()) < 100
