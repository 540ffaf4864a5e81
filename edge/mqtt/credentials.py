"""The files that a broker's settings name: whether they were replaced, and when they expire."""

from datetime import datetime, timedelta
from pathlib import Path

from edge.errors import CertificateError, ErrorCode
from edge.mqtt.ca_bundle import CaBundle, named, read_bundle, read_certificates
from edge.settings import BrokerSettings
from edge.system.key_files import LARGEST, secret_path
from edge.system.supplied_files import read_regular
from edge.system.text import pluralize

AHEAD = timedelta(days=30)  # an expiry is announced so long before

Stamp = tuple[tuple[int, int, int, int] | None, ...]


class CredentialFiles:
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


def expiry(broker: BrokerSettings, now: datetime) -> tuple[ErrorCode, str] | None:
    """Return what to announce of a certificate that ends within AHEAD, or has ended.

    Our own counts before the CA certificates of `broker.ca`, of which the last to end counts: the
    successor of one that expires may lie there already. `remarks` names the others.
    """
    files = (
        (ErrorCode.CERTIFICATE_EXPIRES, "the unit's certificate", broker.certificate, min),
        (ErrorCode.AUTHORITY_EXPIRES, "the broker's authority", broker.ca, max),
    )
    for trouble, what, path, which in files:
        ends = which(_ends(path), default=None)
        if path is None or ends is None or ends - now > AHEAD:
            continue
        days = (ends - now).days
        when = f"expired on {ends:%Y-%m-%d}" if days < 0 else f"expires in {pluralize(days, 'day')}"
        return trouble, f"{path}: {what} {when}; put a new one in its place, no restart is needed"
    return None


def remarks(broker: BrokerSettings, now: datetime) -> tuple[str, ...]:
    """Return a sentence for each certificate of `broker.ca` that cannot serve, or ends soon."""
    try:
        bundle = None if broker.ca is None else _bundle(broker.ca)
        if bundle is None:
            return ()
        ending = (one for one in bundle.serving(now) if one.not_valid_after_utc - now <= AHEAD)
        soon = (f"{named(one)} ends on {one.not_valid_after_utc:%Y-%m-%d}" for one in ending)
        return (*bundle.remarks(now), *soon)
    except (OSError, CertificateError):  # said by whoever connects with it
        return ()


def ends_at(path: Path) -> datetime | None:
    """Return when the first of a PEM file's certificates ends; None where it cannot be read."""
    return min(_ends(path), default=None)


def _ends(path: Path | None) -> list[datetime]:
    try:
        content = b"" if path is None else read_regular(path, LARGEST)
        return [one.not_valid_after_utc for one in read_certificates(content, str(path))]
    except (OSError, CertificateError):  # said by whoever connects with it
        return []


def _bundle(path: Path) -> CaBundle:
    return read_bundle(read_regular(path, LARGEST), "broker.ca")
