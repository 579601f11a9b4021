# SPDX-License-Identifier: MIT
"""JSON Web Tokens and API keys as an issuer makes them: HMAC by Python, the rest by the openssl command."""

import base64
import hashlib
import hmac
import json
import subprocess
import time
from pathlib import Path


def digest(key):
    """What stands in a keys file or a Redis key for an API key."""
    return hashlib.sha256(key.encode()).hexdigest()


def encode(data):
    if isinstance(data, (dict, list)):
        data = json.dumps(data, separators=(",", ":"))
    if isinstance(data, str):
        data = data.encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(user="alice", tier=None, seconds=60, **more):
    made = {"sub": user, "exp": int(time.time()) + seconds, **more}
    if tier is not None:
        made["tier"] = tier
    return made


def hmac_token(secret, payload, algorithm="HS256", header=None):
    signed = encode(header or {"alg": algorithm, "typ": "JWT"}) + "." + encode(payload)
    name = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}[algorithm]
    return signed + "." + encode(hmac.new(secret.encode(), signed.encode(), name).digest())


def openssl(*arguments, data=None):
    done = subprocess.run(["openssl", *map(str, arguments)], input=data, capture_output=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"openssl {arguments[0]}: {done.stderr.decode(errors='replace')}")
    return done.stdout


class Signer:
    """A key pair in files: RS256, ES256 or EdDSA."""

    def __init__(self, directory, algorithm, name=None):
        self.algorithm = algorithm
        stem = Path(directory) / (name or algorithm.lower())
        self.private, self.public = stem.with_suffix(".key"), stem.with_suffix(".pem")
        kinds = {
            "RS256": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
            "ES256": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
            "EdDSA": ("-algorithm", "ED25519"),
        }
        openssl("genpkey", *kinds[algorithm], "-out", self.private)
        openssl("pkey", "-in", self.private, "-pubout", "-out", self.public)

    def token(self, payload, header=None):
        signed = encode(header or {"alg": self.algorithm}) + "." + encode(payload)
        return signed + "." + encode(self.signature(signed.encode()))

    def signature(self, data):
        if self.algorithm == "EdDSA":
            path = self.private.with_suffix(".signed")
            path.write_bytes(data)
            return openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.private, "-in", path)
        signature = openssl("dgst", "-sha256", "-sign", self.private, data=data)
        return raw_pair(signature) if self.algorithm == "ES256" else signature


def raw_pair(der):
    """An ECDSA signature's two integers, 32 bytes each, out of their DER sequence."""
    numbers, at = [], 2
    for _ in range(2):
        assert der[at] == 2, der
        length = der[at + 1]
        numbers.append(int.from_bytes(der[at + 2 : at + 2 + length], "big").to_bytes(32, "big"))
        at += 2 + length
    return b"".join(numbers)
