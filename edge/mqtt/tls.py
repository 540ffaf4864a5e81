"""TLS to a broker: the same rules on every version of Python."""

import ssl

from cryptography.hazmat.primitives.serialization import Encoding

from edge.errors import CertificateError, SecretError
from edge.mqtt.ca_bundle import read_bundle, read_certificates
from edge.settings import BrokerSettings
from edge.system.key_files import LARGEST, read_secret, secret_path
from edge.system.supplied_files import read_regular

# What Python 3.13 sets by itself. A CA certificate between two others may be the one to trust.
_STRICT = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN


def tls_context(broker: BrokerSettings) -> ssl.SSLContext:
    """Return a context that verifies the broker's name and certificate, and shows our own.

    Raises SecretError, which names the file and what is wrong with it.
    """
    context = ssl.create_default_context(cadata=_authorities(broker))
    context.verify_flags |= _STRICT
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if broker.certificate is None or broker.certificate_key is None:
        return context
    # OpenSSL reads these files itself, and by name only. The mode is checked as for every secret.
    read_secret(broker.certificate_key, "the certificate's key")
    key = secret_path(broker.certificate_key)
    try:
        read_certificates(read_regular(broker.certificate, LARGEST), "broker.certificate")
        context.load_cert_chain(broker.certificate, key, password="")
    except CertificateError as error:
        raise SecretError(f"{broker.certificate}: {error}") from None
    except (OSError, ssl.SSLError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise SecretError(
                f"{broker.certificate}: broker.certificate is not for the key in {key}; have one "
                "issued for the request of this unit"
            ) from None
        raise SecretError(
            f"{broker.certificate}: broker.certificate and broker.certificate_key "
            f"({key}) are not a PEM certificate and its unencrypted key"
        ) from None
    return context


def _authorities(broker: BrokerSettings) -> bytes | None:
    """Return the CA certificates that are fit to serve, DER; None for those of the system."""
    if broker.ca is None:
        return None
    try:
        content = read_regular(broker.ca, LARGEST)
        bundle = read_bundle(content, "broker.ca")
    except OSError as error:
        raise SecretError(f"{broker.ca}: broker.ca cannot be read: {error.strerror}") from None
    except CertificateError as error:
        raise SecretError(f"{broker.ca}: {error}") from None
    # The bytes that were judged; the file may have changed since.
    return b"".join(one.public_bytes(Encoding.DER) for one in bundle.fit)
