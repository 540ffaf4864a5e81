"""The files that a broker's settings name: whether they were replaced, and when they expire."""

from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from edge.errors import Trouble
from edge.mqtt.client import secret_path
from edge.settings import BrokerSettings
from edge.wording import counted

AHEAD = timedelta(days=30)  # an expiry is announced so long before

Stamp = tuple[tuple[int, int, int, int] | None, ...]


class Files:
    """Certificate, key, authorities and password of one broker, as they were when last used."""

    def __init__(self, broker: BrokerSettings) -> None:
        secrets = (broker.certificate_key, broker.password)
        self._secrets = tuple(path for path in secrets if path is not None)
        self._plain = tuple(path for path in (broker.certificate, broker.ca) if path is not None)
        self.used = self.stamp()

    def changed(self) -> bool:
        """Whether any was replaced since `used`, the stamp of when they were last read."""
        return self.stamp() != self.used

    def stamp(self) -> Stamp:
        """Return what tells them from any that replace them; take it before they are read."""
        paths = (*self._plain, *(secret_path(path) for path in self._secrets))
        return tuple(_stamp_of(path) for path in paths)


def _stamp_of(path: Path) -> tuple[int, int, int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino, about.st_mtime_ns, about.st_size


def expiry(broker: BrokerSettings, now: datetime) -> tuple[Trouble, str] | None:
    """Return what to announce of a certificate that ends within AHEAD, or has ended.

    Our own counts before the authorities of `broker.ca`, of which the first to end counts.
    """
    files = (
        (Trouble.CERTIFICATE_EXPIRES, "the unit's certificate", broker.certificate),
        (Trouble.AUTHORITY_EXPIRES, "the broker's authority", broker.ca),
    )
    for trouble, what, path in files:
        ends = None if path is None else ends_at(path)
        if ends is None or ends - now > AHEAD:
            continue
        days = (ends - now).days
        when = f"expired on {ends:%Y-%m-%d}" if days < 0 else f"expires in {counted(days, 'day')}"
        return trouble, f"{path}: {what} {when}; put a new one in its place, no restart is needed"
    return None


def ends_at(path: Path) -> datetime | None:
    """Return when the first of a PEM file's certificates ends; None where it cannot be read."""
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):  # told by whoever connects with it
        return None
    return min((one.not_valid_after_utc for one in found), default=None)
