"""The key set that a central server trusts."""

import hashlib
import json

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.hashes import SHA256
from schema import fits
from strict import b64, parse

HALF = 0x7FFFFFFF800000007FFFFFFFFFFFFFFFDE737D56D38BCF4279DCE5617E3192A8  # of P-256's order


def trusted(raw, schema):
    """Return the keys of a set that verify, by `kid`; ValueError where it is not to be trusted."""
    content, keys = parse(raw), {}
    if not fits(schema, content, schema):
        raise ValueError("is not of schema/keys.json")
    for key in content["keys"]:
        x, y = (int.from_bytes(b64(key.get(name, "")), "big") for name in "xy")
        if key["kid"] in keys:
            raise ValueError(f"{key['kid']}: is listed twice")
        own = {name: key[name] for name in ("crv", "kty", "x", "y") if name in key}
        thumbprint = hashlib.sha256(json.dumps(own, separators=(",", ":")).encode()).digest()
        if b64(key["kid"]) != thumbprint:
            raise ValueError(f"{key['kid']}: is not the thumbprint")
        if key["alg"] == "ES256":  # a ValueError where the point is not on the curve
            key["public"] = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        elif key["alg"] == "Ed25519":
            key["public"] = ed25519.Ed25519PublicKey.from_public_bytes(b64(key["x"]))
        keys[key["kid"]] = key
    return {kid: key for kid, key in keys.items() if "public" in key}


def signed(key, content, signature):
    """Whether a signature is that of a key."""
    try:
        if key["alg"] == "Ed25519":
            key["public"].verify(signature, content)
            return True
        r, s = (int.from_bytes(part, "big") for part in (signature[:32], signature[32:]))
        key["public"].verify(utils.encode_dss_signature(r, s), content, ec.ECDSA(SHA256()))
        return len(signature) == 64 and s <= HALF
    except InvalidSignature:
        return False
