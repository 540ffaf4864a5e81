"""What a claim builds on: the settings file as it is now."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from edge.appliance.provision.claim import ClaimedBroker, Documents
from edge.contract.topics import UnitName
from edge.errors import SettingsError
from edge.settings import Settings, describe_errors, read_file

CA, CERTIFICATE, AUTHORITIES, REQUEST = "broker-ca.pem", "unit.pem", "authorities.json", "unit.csr"
PASSWORD, TLS_KEY = "broker.password", "tls.key"
# What stays of [broker] when another broker is named: how to behave, not where and who.
_MANNER = ("keepalive", "window", "backoff_min", "backoff_max")

Content = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CurrentConfig:
    """The settings file before."""

    file: Path
    content: Mapping[str, Any]

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read it; empty where there is none. Raises SettingsError."""
        return cls(file, read_file(file)[0] if file.exists() else {})

    @property
    def unit(self) -> UnitName | None:
        """Who the unit was; None where it was nobody yet."""
        named = self.content.get("unit", {})
        try:
            return UnitName(named["org"], named["site"], named["name"])
        except (KeyError, TypeError, ValueError):
            return None

    @property
    def certificate(self) -> tuple[str, str] | None:
        """The files of the certificate and its key; None where there is none yet."""
        broker = self.content.get("broker", {})
        pair = broker.get("certificate"), broker.get("certificate_key")
        return (str(pair[0]), str(pair[1])) if all(pair) else None

    def merged(self, documents: Documents, state: Path) -> Content:
        """Return the content with the claim's parts in it, without a certificate."""
        claim = documents.claim
        content: Content = copy.deepcopy(dict(self.content))
        if claim.unit is not None:
            content["unit"] = claim.unit.model_dump(mode="json")
        if claim.broker is not None:
            old = self.content.get("broker", {})
            content["broker"] = {
                **_broker(claim.broker),
                **({"ca": str(self.file.parent / CA)} if documents.ca else {}),
                **({"password": str(state / PASSWORD)} if claim.broker.password else {}),
                **{name: old[name] for name in _MANNER if name in old},
            }
        for name in ("camera", "gpio"):
            if (part := getattr(claim, name)) is not None:
                said = part.model_dump(mode="json", exclude_unset=True)
                content[name] = {**content.get(name, {}), **said}
        for name in ("unit", "broker"):
            if name not in content:
                raise SettingsError(
                    f"{documents.where}: [{name}] is missing, and this unit was told nothing yet"
                )
        content["broker"].pop("certificate", None)
        content["broker"].pop("certificate_key", None)
        return content


def checked(content: Content, where: str) -> Settings:
    """Return the settings that `content` makes. Raises SettingsError."""
    try:
        return Settings(**content)
    except ValidationError as error:
        raise SettingsError(describe_errors(error, where)) from None


def _broker(claimed: ClaimedBroker) -> Content:
    said = claimed.model_dump(mode="json", exclude_none=True, exclude={"ca", "password"})
    said.setdefault("port", 8883 if claimed.tls else 1883)
    if not claimed.others:
        del said["others"]
    return said
