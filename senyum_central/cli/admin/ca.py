"""`senyum admin ca`: a small private CA for the broker and its clients."""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.system.text import pluralize

if TYPE_CHECKING:
    from senyum_central.admin.ca import CertificateAuthority
    from senyum_central.admin.certificate_index import CertificateEntry

_REASONS = ("unspecified", "key-compromise", "superseded", "cessation-of-operation")
_MAX_DAYS = 36_500
_SOON_DAYS = 30


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "ca",
        help="certificates: create a CA, issue, renew, revoke, list",
        description="A small private certificate authority (CA) in a folder. Keep the folder "
        "off the broker and the units, and back it up.",
    )
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")

    def step(name: str, what: str, function: Any, *, key: bool = True) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = steps.add_parser(name, help=what, description=what)
        made.add_argument("--ca", type=Path, required=True, metavar="FOLDER")
        if key:
            made.add_argument(
                "--passphrase-file",
                type=Path,
                metavar="FILE",
                help="mode 0600, one line (default: ask)",
            )
        made.set_defaults(func=function)
        return made

    init = step("init", "create a CA in a new folder", _init)
    init.add_argument("--name", default="Senyum fleet", help="name in its certificate")
    _days(init, "3653, ten years")
    issue = step("issue", "issue a certificate for a unit or another client", _issue)
    issue.add_argument(
        "name",
        help="unit name as ORG/SITE/UNIT, or a single-level name such as central-1 for another "
        "client",
    )
    _request(issue, required=True)
    server = step("server", "issue a certificate for a broker", _server)
    server.add_argument("hosts", nargs="+", metavar="HOST", help="its host names and IP addresses")
    _request(server, required=True)
    renew = step("renew", "reissue a certificate; the old one stays valid until it expires", _renew)
    renew.add_argument("name")
    _request(renew, required=False)
    for each in (issue, server, renew):
        _days(each, "730")
        each.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    revoke = step("revoke", "revoke a certificate and rewrite the revocation list", _revoke)
    revoke.add_argument("name", help="a name (all its certificates) or one serial number")
    revoke.add_argument("--reason", choices=_REASONS, default="unspecified")
    crl = step("crl", "rewrite the revocation list", _crl)
    _days(crl, "365")
    listing = step("list", "list certificates and when they expire", _list, key=False)
    listing.add_argument("--json", action="store_true", help="one JSON object per line")
    step("access", "print the broker's access list for each unit", _access, key=False)
    show = step("show", "print the newest certificate of a name", _show, key=False)
    show.add_argument("name")


def _days(parser: argparse.ArgumentParser, usual: str) -> None:
    parser.add_argument(
        "--days", type=int, metavar="N", help=f"validity in days (default: {usual})"
    )


def _request(parser: argparse.ArgumentParser, *, required: bool) -> None:
    what = "request made by `senyum csr`" if required else "a new request (default: the same key)"
    parser.add_argument("--csr", type=Path, required=required, metavar="FILE", help=what)


def _init(options: argparse.Namespace) -> int:
    from senyum_central.admin.ca import AUTHORITY_DAYS, CertificateAuthority

    passphrase = _passphrase(options, new=True)
    days = _checked(options, AUTHORITY_DAYS)
    CertificateAuthority.create(options.ca, options.name, passphrase, _now(), days)
    print(f"{options.ca}: CA {options.name} created; give ca.pem to the broker and to every client")
    return 0


def _issue(options: argparse.Namespace) -> int:
    from senyum_central.admin.ca import CERTIFICATE_DAYS
    from senyum_central.admin.certificates import Subject

    subject = _named(Subject.client, options.name)
    days = _checked(options, CERTIFICATE_DAYS)
    entry = _open(options).issue(subject, options.csr, _now(), days, options.out)
    return _print(options, entry)


def _server(options: argparse.Namespace) -> int:
    from senyum_central.admin.ca import CERTIFICATE_DAYS
    from senyum_central.admin.certificates import Subject

    subject = _named(Subject.broker, options.hosts)
    days = _checked(options, CERTIFICATE_DAYS)
    entry = _open(options).issue(subject, options.csr, _now(), days, options.out)
    return _print(options, entry)


def _renew(options: argparse.Namespace) -> int:
    from senyum_central.admin.ca import CERTIFICATE_DAYS

    days = _checked(options, CERTIFICATE_DAYS)
    entry = _open(options).renew(options.name, _now(), days, options.csr, options.out)
    return _print(options, entry)


def _revoke(options: argparse.Namespace) -> int:
    from senyum_central.admin.ca import REASONS, CaDirectory

    for entry in _open(options).revoke(options.name, _now(), REASONS[options.reason]):
        print(f"{entry.name}: revoked, serial {entry.serial}")
    crl = CaDirectory(options.ca).crl_file
    print(f"{crl}: copy it to the broker and restart the broker, which also ends open connections")
    return 0


def _crl(options: argparse.Namespace) -> int:
    from senyum_central.admin.ca import CRL_DAYS, CaDirectory

    made = _open(options).publish(_now(), _checked(options, CRL_DAYS))
    crl = CaDirectory(options.ca).crl_file
    print(f"{crl}: {len(made)} revoked; valid until {made.next_update_utc:%Y-%m-%d}")
    return 0


def _list(options: argparse.Namespace) -> int:
    from senyum_central.admin.ca import CaDirectory

    directory, now = CaDirectory(options.ca), _now()
    entries = directory.register.entries
    if options.json:
        for entry in entries:
            print(json.dumps(_described(entry, now)))
        return 0
    for entry in entries:
        about = _described(entry, now)
        print(f"{about['kind']:7} {entry.name:40} {about['state']:22} {entry.serial}")
    ends = {
        "authority": directory.certificate.not_valid_after_utc,
        "revocation list": directory.revocation_list.next_update_utc or now,
    }
    for what, end in ends.items():
        print(f"{what} {_when(end, now)}")
    return 0


def _access(options: argparse.Namespace) -> int:
    from senyum_central.admin.ca import CaDirectory, expand_acl
    from senyum_central.admin.certificates import CertificateKind

    now = _now()
    entries = CaDirectory(options.ca).register.entries
    for name in sorted({e.name for e in entries if e.kind is CertificateKind.UNIT and e.live(now)}):
        print(expand_acl(name))
    return 0


def _show(options: argparse.Namespace) -> int:
    from senyum_central.admin.ca import CaDirectory

    print(CaDirectory(options.ca).newest(options.name).pem.decode(), end="")
    return 0


def _described(entry: "CertificateEntry", now: datetime) -> dict[str, str]:
    return {
        "name": entry.name,
        "kind": entry.kind,
        "serial": entry.serial,
        "begins": entry.certificate.not_valid_before_utc.isoformat(),
        "ends": entry.ends.isoformat(),
        "state": "revoked" if entry.revoked else _when(entry.ends, now),
    }


def _when(end: datetime, now: datetime) -> str:
    days = (end - now).days
    if end < now:
        return f"ENDED on {end:%Y-%m-%d}"
    return f"ends in {pluralize(days, 'day')}" + (" SOON" if days < _SOON_DAYS else "")


def _print(options: argparse.Namespace, entry: "CertificateEntry") -> int:
    if options.out is None:
        print(entry.pem.decode(), end="")
    else:
        print(f"{options.out}: {entry.kind} {entry.name}, valid until {entry.ends:%Y-%m-%d}")
    return 0


def _open(options: argparse.Namespace) -> "CertificateAuthority":
    from senyum_central.admin.ca import CertificateAuthority

    return CertificateAuthority.open(options.ca, _passphrase(options))


def _passphrase(options: argparse.Namespace, *, new: bool = False) -> bytes:
    import getpass

    from edge.errors import CertificateError
    from edge.system.key_files import read_secret_line

    if options.passphrase_file is not None:
        return read_secret_line(options.passphrase_file, "the passphrase").encode()
    if not sys.stdin.isatty():
        raise CertificateError("no terminal to ask for the passphrase; use --passphrase-file")
    given = getpass.getpass("Passphrase of the CA key: ")
    if new and getpass.getpass("Repeat it: ") != given:
        raise CertificateError("the passphrases differ; nothing was created")
    return given.encode()


def _named(make: Any, what: Any) -> Any:
    from edge.errors import CertificateError

    try:
        return make(what)
    except ValueError as error:
        raise CertificateError(str(error)) from None


def _checked(options: argparse.Namespace, usual: int) -> int:
    from edge.errors import CertificateError

    days: int = usual if options.days is None else options.days
    if not 1 <= days <= _MAX_DAYS:
        raise CertificateError(f"--days {days}: must be 1 to {_MAX_DAYS}")
    return days


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
