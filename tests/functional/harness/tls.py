# SPDX-License-Identifier: MIT
"""Certificates for the tests (made by the openssl command) and a non-blocking TLS socket."""

import ssl
import subprocess
from pathlib import Path


class TlsSocket:
    """An ssl socket that raises BlockingIOError as a plain one does."""

    def __init__(self, sock):
        self.tls = sock
        self.family = sock.family

    def setblocking(self, value):
        self.tls.setblocking(value)

    def setsockopt(self, *arguments):
        self.tls.setsockopt(*arguments)

    def fileno(self):
        return self.tls.fileno()

    def _try(self, call, *arguments):
        try:
            return call(*arguments)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""

    def recv(self, size):
        return self._try(self.tls.recv, size)

    def send(self, data):
        return self._try(self.tls.send, data)

    def shutdown(self, how):
        self.tls.shutdown(how)

    def close(self):
        self.tls.close()


def run(*arguments):
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_certificates(directory):
    """A CA and a certificate for localhost and 127.0.0.1 signed by it: paths (ca, cert, key)."""
    directory = Path(directory)
    ca, ca_key = directory / "ca.pem", directory / "ca.key"
    cert, key, request = directory / "cert.pem", directory / "cert.key", directory / "cert.csr"
    extensions = directory / "cert.ext"
    extensions.write_text("subjectAltName=DNS:localhost,DNS:api.test,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run("openssl", "req", "-x509", *curve, "-keyout", ca_key, "-out", ca, "-days", "2", "-subj", "/CN=test ca")
    run("openssl", "req", *curve, "-keyout", key, "-out", request, "-subj", "/CN=localhost")
    run(
        *("openssl", "x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial"),
        *("-out", cert, "-days", "2", "-extfile", extensions),
    )
    return ca, cert, key


def server_context(cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context
