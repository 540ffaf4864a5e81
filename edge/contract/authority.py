"""Verifies orders: which keys may give a unit orders, and whether a message is from one of them.

A unit knows its authorities by a JWK set file (`authority.keys`) of the form of a central
server's `keys.json` (`edge.contract.keys`), in which each key says what it may order, and of whom:

    {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "...", "kid": "...", "alg": "Ed25519",
               "use": "sig", "nbf": 1767225600, "exp": 1798761600,
               "senyum:roles": ["command", "roster"],
               "senyum:units": ["urn:senyum:ORG:SITE:UNIT", "urn:senyum:ORG:*:*"]}]}

Nothing is trusted on first use. A message passes only if all of this holds, in this order:

1. it is no larger than the caller allows (too-large);
2. it is three parts of canonical base64url, its payload not nested too deep, its header exactly
   `alg`, `kid` and `typ`, and `typ` is the one that is awaited (malformed);
3. `kid` is known, with that very `alg`, and valid now as far as the time is known (unknown-key);
4. the signature is that key's (forged);
5. the payload is a JSON object within the limits of `edge.contract.limits` (malformed);
6. the key has the role that is needed (wrong-role), and its `senyum:units` and the message's
   `aud` both name this unit (foreign).
"""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from edge.contract.jose import (
    JwsTooLarge,
    ParsedJws,
    digest,
    json_object,
    load_jwk_set,
    parse,
    parse_jwk_set,
)
from edge.contract.keys import SigningKey, VerifyingKey, unique_keys, verifying
from edge.contract.topics import URN, UnitName
from edge.errors import SecretError, SenyumError
from edge.system.key_files import read_secret, secret_path
from edge.system.text import pluralize

log = logging.getLogger(__name__)

ROLES = "senyum:roles"
UNITS = "senyum:units"
_HEADER = {"alg", "kid", "typ"}


class Role(StrEnum):
    """What a key may order."""

    COMMAND = "command"
    ROSTER = "roster"


class OrderRejectReason(StrEnum):
    """Why an order was refused; the `reason` of a reply.

    `forged`: the signature is not that of the key; not answered.
    `unknown-key`: the key is not among the unit's authorities, not valid now, or of another
    algorithm; not answered.
    `too-large`: more than 16,384 bytes, or 65,536 for a roster's manifest; not answered.
    `malformed`: not a compact JWS with exactly alg, kid and typ, or the payload is not of this
    contract. Answered if it was signed and its id can be read.
    `wrong-role`: the key may not order this.
    `foreign`: the key, or `aud`, is for other units.
    `retained`: it was published retained.
    `stale`: its number is not above its key's last one, or it is older than the unit's command
    log; for a roster, its version is not above every earlier one.
    `expired`: `exp` has passed.
    `clock-unknown`: the unit does not know the time; only ping and identify run.
    `unknown-command`: the unit's version does not know the command.
    `bad-data`: `data` is of the wrong form or out of bounds; for a roster, its content is not the
    signed one, or cannot be read.
    `failed`: the unit could not do it; `text` says why.
    `no-recipient`: a roster whose key is not wrapped for this unit's encryption key.
    `other-network`: a roster made with another identity model.
    `erased-person`: a roster that contains an erased person without stating that they enrolled
    again.
    """

    FORGED = "forged"
    UNKNOWN_KEY = "unknown-key"
    TOO_LARGE = "too-large"
    MALFORMED = "malformed"
    WRONG_ROLE = "wrong-role"
    FOREIGN = "foreign"
    RETAINED = "retained"
    STALE = "stale"
    EXPIRED = "expired"
    CLOCK_UNKNOWN = "clock-unknown"
    UNKNOWN_COMMAND = "unknown-command"
    BAD_DATA = "bad-data"
    FAILED = "failed"
    NO_RECIPIENT = "no-recipient"
    OTHER_NETWORK = "other-network"
    ERASED_PERSON = "erased-person"


OF_ROSTERS = frozenset(
    {
        OrderRejectReason.NO_RECIPIENT,
        OrderRejectReason.OTHER_NETWORK,
        OrderRejectReason.ERASED_PERSON,
    }
)
OF_COMMANDS = frozenset(
    {
        OrderRejectReason.RETAINED,
        OrderRejectReason.EXPIRED,
        OrderRejectReason.CLOCK_UNKNOWN,
        OrderRejectReason.UNKNOWN_COMMAND,
    }
)


@dataclass(frozen=True, slots=True)
class VerifiedOrder:
    """What a known key signed."""

    kid: str
    claims: Mapping[str, Any] = field(repr=False)  # a JSON object, strict, not looked into yet
    digest: str  # base64url SHA-256 of the token: identifies the message


class OrderRejected(SenyumError):
    """An order that this unit does not follow. `order` is None where nobody known signed it."""

    def __init__(
        self, flaw: OrderRejectReason, message: str, order: VerifiedOrder | None = None
    ) -> None:
        super().__init__(message)
        self.flaw = flaw
        self.order = order


@dataclass(frozen=True, slots=True)
class Audience:
    """Units by a URN of which each name may be `*`."""

    names: tuple[str, str, str]

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read `urn:senyum:ORG:SITE:UNIT`; ValueError, which does not quote it."""
        names = text.removeprefix(URN).split(":") if isinstance(text, str) else []
        if not str(text).startswith(URN) or len(names) != 3:
            raise ValueError("is not urn:senyum:ORG:SITE:UNIT, each name or *")
        try:
            UnitName(*("x" if name == "*" else name for name in names))
        except ValueError:
            raise ValueError("is not urn:senyum:ORG:SITE:UNIT, each name or *") from None
        org, site, name = names
        return cls((org, site, name))

    def covers(self, unit: UnitName) -> bool:
        of_unit = (unit.org, unit.site, unit.name)
        return all(own in ("*", other) for own, other in zip(self.names, of_unit, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityKey(VerifyingKey):
    """One key that may give orders."""

    roles: frozenset[Role]
    units: tuple[Audience, ...]


def _authority(entry: Mapping[str, Any]) -> AuthorityKey:
    fields = verifying(entry)
    roles, units = entry.get(ROLES), entry.get(UNITS)
    if not isinstance(roles, list) or not roles or not all(each in list(Role) for each in roles):
        raise ValueError(f"{ROLES}: is not a list of {', '.join(Role)}")
    if not isinstance(units, list) or not units:
        raise ValueError(f"{UNITS}: is not a list of urn:senyum:ORG:SITE:UNIT, each name or *")
    try:
        audiences = tuple(Audience.parse(each) for each in units)
    except ValueError as error:
        raise ValueError(f"{UNITS}: {error}") from None
    return AuthorityKey(roles=frozenset(map(Role, roles)), units=audiences, **fields)


def register(
    key: SigningKey,
    roles: Iterable[Role],
    units: Iterable[str],
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> dict[str, Any]:
    """Return the entry of a key for the units' file of authorities; ValueError names the field."""
    entry = {**key.public(not_before, not_after), ROLES: sorted(roles), UNITS: list(units)}
    _authority(entry)
    return entry


def signing_key(path: Path, role: Role) -> SigningKey:
    """Read an authority's key file (a private JWK, mode 0600) that is to order what `role` may.

    Raises SecretError; also where the file says that the key was registered for other roles alone,
    for then every unit would answer `wrong-role`.
    """
    try:
        missing = not secret_path(path).exists()
    except OSError as error:
        raise SecretError(f"{path}: the key cannot be read: {error.strerror}") from None
    if missing:
        raise SecretError(
            f"{path}: no such key; make one: senyum admin keys --role {role} --authority {path}"
        )
    key = SigningKey.load_or_create(path)
    roles = roles_of(read_secret(path, "the authority's key"))
    if roles and role not in roles:
        raise SecretError(
            f"{path}: has the role {' and '.join(sorted(roles))}, and units want {role} here; name "
            f"another key, or register this one again: senyum admin keys --role {role}"
        )
    return key


def roles_of(content: bytes) -> set[str]:
    """Return the roles that a private key was registered for; none where its file names none."""
    roles = json.loads(content).get(ROLES)
    return {str(role) for role in roles} if isinstance(roles, list) else set()


def sign_order(key: SigningKey, typ: str, claims: Mapping[str, Any]) -> str:
    """Return the compact JWS of an order."""
    header = {"alg": key.alg, "kid": key.kid, "typ": typ}
    return key.sign(header, json.dumps(claims, separators=(",", ":")).encode())


class Authorities:
    """The keys that this unit obeys, by `kid`."""

    def __init__(self, keys: Iterable[AuthorityKey] = ()) -> None:
        self._keys = {key.kid: key for key in keys}

    def __len__(self) -> int:
        return len(self._keys)

    @classmethod
    def of(cls, registrations: Iterable[Mapping[str, Any]]) -> Self:
        """Build from entries of a JWK set; ValueError names the entry and the field."""
        return cls(unique_keys(registrations, _authority))

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Read a JWK set; ValueError names the entry and the field."""
        return cls.of(parse_jwk_set(content))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a JWK set file; a missing file means no authorities. Raises SecretError."""
        if not path.exists():
            return cls()
        try:
            return cls.of(load_jwk_set(path))
        except ValueError as error:
            raise SecretError(f"{path}: {error}") from None

    def verify(
        self,
        token: bytes,
        typ: str,
        role: Role,
        unit: UnitName,
        *,
        now: datetime | None,
        most_bytes: int,
    ) -> VerifiedOrder:
        """Return what is ordered, or raise OrderRejected with the first rule that is broken.

        `now` is None while the time is not known: then no key is too old or too new.
        """
        parsed = _parsed(token, most_bytes)
        if parsed.header["typ"] != typ:
            raise OrderRejected(OrderRejectReason.MALFORMED, f"typ is not {typ}")
        key = self._signer(parsed, now)
        try:
            order = VerifiedOrder(key.kid, json_object(parsed.payload), digest(parsed.token))
        except ValueError as error:
            raise OrderRejected(OrderRejectReason.MALFORMED, f"the payload {error}") from None
        _authorized(key, order, role, unit)
        return order

    def _signer(self, parsed: ParsedJws, now: datetime | None) -> AuthorityKey:
        key = self._keys.get(parsed.header["kid"])
        if key is None or key.alg != parsed.header["alg"]:
            raise OrderRejected(
                OrderRejectReason.UNKNOWN_KEY, "is signed by a key that is not an authority's"
            )
        if not key.verifies(parsed):
            raise OrderRejected(
                OrderRejectReason.FORGED, f"the signature is not that of key {key.kid}"
            )
        if now is not None and not key.valid_at(now):
            raise OrderRejected(OrderRejectReason.UNKNOWN_KEY, f"key {key.kid} is not valid now")
        return key


def _authorized(key: AuthorityKey, order: VerifiedOrder, role: Role, unit: UnitName) -> None:
    if role not in key.roles:
        raise OrderRejected(
            OrderRejectReason.WRONG_ROLE, f"key {key.kid} has not the role {role}", order
        )
    if not any(audience.covers(unit) for audience in key.units):
        raise OrderRejected(OrderRejectReason.FOREIGN, f"key {key.kid} is not for this unit", order)
    try:
        aimed = Audience.parse(order.claims.get("aud")).covers(unit)
    except ValueError as error:
        raise OrderRejected(OrderRejectReason.MALFORMED, f"aud {error}", order) from None
    if not aimed:
        raise OrderRejected(OrderRejectReason.FOREIGN, "is for another unit", order)


def _parsed(token: bytes, max_bytes: int) -> ParsedJws:
    try:
        parsed = parse(token, max_bytes)
    except JwsTooLarge as error:
        raise OrderRejected(OrderRejectReason.TOO_LARGE, str(error)) from None
    except ValueError as error:
        raise OrderRejected(OrderRejectReason.MALFORMED, str(error)) from None
    if parsed.header.keys() != _HEADER:
        raise OrderRejected(
            OrderRejectReason.MALFORMED, "the header is not exactly alg, kid and typ"
        )
    return parsed


class AuthorityFile:
    """The authorities of a file, read again when the file changes.

    A file that cannot be used changes nothing and is logged once; at the start it means no keys.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._authorities = Authorities()
        self._stamp: tuple[int, ...] | None = None
        self._read = False
        self._damaged = False

    @property
    def damaged(self) -> bool:
        """Whether the file exists and cannot be used, checked now."""
        self.current()
        return self._damaged

    def current(self) -> Authorities:
        """Return who may give orders now; never raises."""
        stamp = _stamp(self._path)
        if not self._read or stamp != self._stamp:
            self._read, self._stamp, self._damaged = True, stamp, False
            try:
                self._authorities = Authorities.load(self._path)
            except SecretError as error:
                self._damaged = stamp is not None
                log.error("%s; orders are judged as before", error)  # noqa: TRY400 - the message is complete
            else:
                log.info(
                    "%s: follows the orders of %s",
                    self._path,
                    pluralize(len(self._authorities), "key"),
                )
        return self._authorities


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
