"""Key files: for their owner only, never over another one, from systemd first."""

from pathlib import Path

import pytest

from edge.errors import SecretError
from edge.system.key_files import read_secret, write_secret


def test_a_secret_is_written_for_its_owner_only_and_never_over_another(tmp_path: Path) -> None:
    key = tmp_path / "keys" / "roster.key"
    write_secret(key, b"secret")
    assert key.stat().st_mode & 0o777 == 0o600
    assert read_secret(key, "roster key") == b"secret"
    with pytest.raises(FileExistsError):
        write_secret(key, b"other")
    assert list(key.parent.iterdir()) == [key]


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "roster.key"
    key.write_bytes(b"hush")
    key.chmod(0o640)
    with pytest.raises(SecretError, match=r"mode 0640.*chmod 600") as caught:
        read_secret(key, "roster key")
    assert "hush" not in str(caught.value)


def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match=r"roster\.key: roster key cannot be read: No such file"):
        read_secret(tmp_path / "roster.key", "roster key")


def test_a_credential_of_systemd_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "roster.key").write_bytes(b"from systemd")
    (credentials / "roster.key").chmod(0o440)  # as systemd lays them out
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert read_secret(Path("/etc/senyum/roster.key"), "roster key") == b"from systemd"
