"""A unit for the test vectors: the code of every unit, with clock, ids and keys that stay."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from edge.contract.events import OnlineStatus
from edge.contract.jose import b64url, normalize_low_s
from edge.contract.keys import ALGORITHMS, SigningKey
from edge.contract.topics import TopicKind, UnitName
from edge.inference.models import liveness_rules
from edge.outbox.event_signer import ChainHead, EventSigner, HealthReport, SigningContext
from edge.settings import PlaceSettings, Settings, UnitSettings
from edge.system.clock import ClockReading, ClockState
from edge.types import Attempt, Audit, AuditCode, Direction, LivenessResult, Match, Outcome, Reason

NOON: Final = int(datetime(2026, 8, 17, 5, tzinfo=UTC).timestamp())  # in Jakarta, of every vector
PERSON: Final = "0123456789abcdef0123456789abcdef"
P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class SteadyKey(SigningKey):
    """A key that everybody can compute from its name, and that signs the same in the same way."""

    def __init__(self, name: str, alg: str = "Ed25519") -> None:
        seed = sha256(f"senyum contract, test key, {name}".encode()).digest()
        self._secret: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
        if alg == "ES256":
            scalar = int.from_bytes(seed) % (P256_ORDER - 1) + 1
            self._secret = ec.derive_private_key(scalar, ec.SECP256R1())
            point = self._secret.public_key().public_numbers()
            numbers = {"d": scalar, "x": point.x, "y": point.y}
            content = {member: number.to_bytes(32) for member, number in numbers.items()}
        else:
            self._secret = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
            content = {"d": seed, "x": self._secret.public_key().public_bytes_raw()}
        kind = ALGORITHMS[alg]
        self.private = {
            "kty": kind.kty,
            "crv": kind.crv,
            **{member: b64url(value) for member, value in content.items()},
        }
        super().__init__(kind.load(dict(self.private)), alg)

    def sign(self, header: Mapping[str, Any], payload: bytes) -> str:
        """Sign as the code does; ES256 with the number that RFC 6979 derives, not a random one."""
        if self.alg != "ES256":
            return super().sign(header, payload)
        content = json.dumps(header, separators=(",", ":")).encode()
        return self.close(f"{b64url(content)}.{b64url(payload)}")

    def close(self, signed: str) -> str:
        """Put the signature behind the first two parts of a JWS."""
        token = f"{signed}.{b64url(self.raw(signed.encode()))}"
        return normalize_low_s(token) if self.alg == "ES256" else token

    def raw(self, content: bytes, *, der: bool = False) -> bytes:
        """Return a bare signature; with `der` an ES256 one as X.509 spells it, and not JOSE."""
        if isinstance(self._secret, ed25519.Ed25519PrivateKey):
            return self._secret.sign(content)
        signature = self._secret.sign(content, ec.ECDSA(SHA256(), deterministic_signing=True))
        return (
            signature if der else b"".join(n.to_bytes(32) for n in decode_dss_signature(signature))
        )


@dataclass(slots=True)
class SetClock:
    """Moves only when it is set."""

    utc_s: int = NOON
    state: ClockState = ClockState.SYNCHRONIZED

    def read(self) -> ClockReading:
        return ClockReading(
            utc_ns=self.utc_s * 1_000_000_000 + 250_000_000,
            monotonic_ns=3_600_000_000_000,
            state=self.state,
            boot_id="00000000-0000-4000-8000-000000000000",
        )


def ids(start: int = 1) -> Iterator[str]:
    """Yield UUIDv7 that count, instead of random ones."""
    moment = f"{NOON * 1000:012x}"
    number = start
    while True:
        yield f"{moment[:8]}-{moment[8:]}-7000-8000-{number:012x}"
        number += 1


@dataclass(slots=True)
class Unit:
    """Seals one chain with one key. A copy of one goes on from the same head: a fork."""

    name: UnitName
    key: SteadyKey
    clock: SetClock = field(default_factory=SetClock)
    head: ChainHead = field(default_factory=ChainHead)
    first_id: int = 1
    sealer: EventSigner = field(init=False)

    def __post_init__(self) -> None:
        count = ids(self.first_id)
        settings = UnitSettings(
            org=self.name.org,
            site=self.name.site,
            name=self.name.name,
            direction=Direction.IN,
            place=PlaceSettings(latitude=-6.3942, longitude=106.823, zone="Asia/Jakarta"),
        )
        context = SigningContext(
            unit=settings,
            software="0.1.0",
            models={name: sha256(name.encode()).hexdigest() for name in ("detector", "identity")},
            roster=sha256(b"roster").hexdigest(),
            # Not `Settings()`: that would read this machine's environment.
            thresholds=Settings.model_construct().thresholds(
                liveness_rules(Settings.model_construct())
            ),
        )
        self.sealer = EventSigner(context, self.key, self.clock, lambda: next(count))

    def topic(self, leaf: TopicKind = TopicKind.EVENT) -> str:
        return self.name.topic(leaf)

    def recorded(self, **changes: Any) -> bytes:
        """Seal the next event: somebody smiled and was recorded, unless changed."""
        content: dict[str, Any] = {
            "ref": 1,
            "outcome": Outcome.RECORDED,
            "reason": Reason.ACCEPTED,
            "captured_ns": self.clock.read().monotonic_ns,
            "person": PERSON,
            "smile": 77.7,
            "smile_threshold": 50.0,
            "match": Match(PERSON, 0.7123, 0.4),
            "life": LivenessResult(
                live=True, score=0.93, frames=9, cues={"texture": 0.93, "depth": None}
            ),
        }
        return self._next(Attempt(**{**content, **changes}))

    def refused(self, reason: Reason, **changes: Any) -> bytes:
        return self.recorded(outcome=Outcome.REFUSED, reason=reason, **changes)

    def audit(self, code: AuditCode, **detail: Any) -> bytes:
        captured_ns = self.clock.read().monotonic_ns
        return self._next(Audit(ref=1, code=code, captured_ns=captured_ns, detail=detail))

    def _next(self, event: Attempt | Audit) -> bytes:
        token = self.sealer.event(event, self.head).token
        self.head = self.head.followed_by(token)
        self.clock.utc_s += 7
        return token.encode()

    def state(
        self, status: OnlineStatus = OnlineStatus.ONLINE, head: ChainHead | None = None
    ) -> bytes:
        return self.sealer.state(status, 1, head or self.head).encode()

    def health(self, vitals: HealthReport | None = None, head: ChainHead | None = None) -> bytes:
        return self.sealer.health(vitals or HealthReport(), 1, head or self.head, 0).encode()
