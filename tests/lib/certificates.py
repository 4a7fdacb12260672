# SPDX-License-Identifier: BSD-3-Clause
"""A certificate authority of a test; programs trust it through SSL_CERT_FILE."""

import ipaddress
import subprocess

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, text=True)


class Authority:
    def __init__(self, folder):
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.certificate, self.key = folder / "authority.crt", folder / "authority.key"
        openssl("req", "-x509", *KEY, "-days", 2, "-subj", "/CN=Test authority", "-keyout", self.key, "-out",
                self.certificate)
        self.env = {"SSL_CERT_FILE": str(self.certificate), "SSL_CERT_DIR": "/nonexistent"}

    def issue(self, certificate, key, *names):
        """For names and addresses, into these files."""
        def kind(name):
            try:
                ipaddress.ip_address(name)
                return "IP"
            except ValueError:
                return "DNS"

        names = ",".join(f"{kind(n)}:{n}" for n in names)
        request, extensions = f"{certificate}.csr", f"{certificate}.ext"
        with open(extensions, "w") as file:
            file.write(f"subjectAltName={names}\n")
        openssl("req", "-new", *KEY, "-subj", "/CN=relay", "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial",
                "-days", 2, "-extfile", extensions, "-out", certificate)
