"""The settings file as it is now, and how a claim changes it."""

import contextlib
import copy
import tomllib
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import tomlkit
from pydantic import ValidationError

from edge.appliance.provision.claim import ClaimedBroker, Documents
from edge.contract.topics import UnitName
from edge.errors import SettingsError
from edge.settings import Settings, describe_errors, read_file

CA, CERTIFICATE, AUTHORITIES, REQUEST = "broker-ca.pem", "unit.pem", "authorities.json", "unit.csr"
PASSWORD, TLS_KEY = "broker.password", "tls.key"
# Settings of [broker] that stay when a claim names another broker.
_KEPT = ("keepalive", "window", "backoff_min", "backoff_max")

_HEADER = "# Written by `senyum provision`, which keeps your other settings and comments.\n\n"

Content = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CurrentConfig:
    """The settings file before provisioning."""

    file: Path
    content: Mapping[str, Any]
    text: str

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read `file`; empty if it does not exist. Raises SettingsError."""
        return cls(file, *(read_file(file) if file.exists() else ({}, _HEADER)))

    @property
    def unit(self) -> UnitName | None:
        """The unit's name; None before it was provisioned."""
        named = self.content.get("unit", {})
        try:
            return UnitName(named["org"], named["site"], named["name"])
        except (KeyError, TypeError, ValueError):
            return None

    @property
    def certificate(self) -> tuple[str, str] | None:
        """The files of the certificate and its key; None if the unit has no certificate yet."""
        broker = self.content.get("broker", {})
        pair = broker.get("certificate"), broker.get("certificate_key")
        return (str(pair[0]), str(pair[1])) if all(pair) else None

    def merged(self, documents: Documents, state: Path) -> Content:
        """Return the content with the claim's sections, without a certificate.

        Raises SettingsError.
        """
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
                **{name: old[name] for name in _KEPT if name in old},
            }
        for name in ("camera", "gpio"):
            if (part := getattr(claim, name)) is not None:
                claimed = part.model_dump(mode="json", exclude_unset=True)
                content[name] = {**content.get(name, {}), **claimed}
        for name in ("unit", "broker"):
            if name not in content:
                raise SettingsError(
                    f"{documents.where}: [{name}] is missing and the unit has not been provisioned"
                )
        content["broker"].pop("certificate", None)
        content["broker"].pop("certificate_key", None)
        return content

    def updated(self, content: Content) -> tuple[str, tuple[str, ...]]:
        """Return the text with the values of `content`, and remarks.

        Comments and order are kept, except in a layout that tomlkit cannot update.
        """
        with contextlib.suppress(Exception):  # of several types, such as IndexError
            document = tomlkit.parse(self.text)
            _update(document, self.content, content)
            text = tomlkit.dumps(document)
            if tomllib.loads(text) == content:
                return text, ()
        remark = f"{self.file}: written without its comments, because its layout is too unusual"
        return _HEADER + tomlkit.dumps(content), (remark,)


def _update(
    table: MutableMapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    for key in before.keys() - after.keys():
        del table[key]
    for key, value in after.items():
        old = before.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            _update(table[key], old, value)
        elif key not in before or repr(old) != repr(value):  # 1, 1.0 and true are different
            table[key] = value


def checked(content: Content, where: str) -> Settings:
    """Return `content` as settings. Raises SettingsError."""
    try:
        return Settings(**content)
    except ValidationError as error:
        raise SettingsError(describe_errors(error, where)) from None


def _broker(claimed: ClaimedBroker) -> Content:
    broker = claimed.model_dump(mode="json", exclude_none=True, exclude={"ca", "password"})
    broker.setdefault("port", 8883 if claimed.tls else 1883)
    if not claimed.others:
        del broker["others"]
    return broker
