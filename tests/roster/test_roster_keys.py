import base64
from pathlib import Path

import pytest

from edge.errors import SecretError
from edge.roster.keys import KEY_BYTES, make_key, read_key

KEY = bytes(range(KEY_BYTES))


def write(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_new_key_is_random_private_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "roster.key"
    key = make_key(path, "the roster key")
    assert len(key) == KEY_BYTES
    assert read_key(path, "the roster key") == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert make_key(tmp_path / "other.key", "the roster key") != key


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = write(tmp_path / "roster.key", KEY.hex().encode())
    with pytest.raises(SecretError, match="the roster key cannot be written: File exists"):
        make_key(path, "the roster key")
    assert read_key(path, "the roster key") == KEY


@pytest.mark.parametrize(
    "text",
    [KEY.hex().encode(), KEY.hex().upper().encode() + b"\r\n", base64.b64encode(KEY) + b"\n"],
)
def test_hex_and_base64_are_read(tmp_path: Path, text: bytes) -> None:
    assert read_key(write(tmp_path / "k", text), "the key") == KEY


@pytest.mark.parametrize(
    "text", [b"", KEY, KEY.hex()[:-2].encode(), base64.b64encode(KEY + b"x"), b"\xff" * 44]
)
def test_anything_else_is_no_key_and_is_not_shown(tmp_path: Path, text: bytes) -> None:
    path = write(tmp_path / "k", text)
    with pytest.raises(SecretError, match=r"k: the key:? (must be 32|is empty|line 1)") as caught:
        read_key(path, "the key")
    assert not text or repr(text)[2:-1] not in str(caught.value)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "k", KEY.hex().encode(), 0o640)
    with pytest.raises(SecretError, match="chmod 600"):
        read_key(path, "the key")


def test_a_credential_of_the_service_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "roster.key", KEY.hex().encode(), 0o440)  # as systemd leaves them
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_key(Path("/etc/nowhere/roster.key"), "the key") == KEY
