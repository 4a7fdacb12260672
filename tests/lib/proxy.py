# SPDX-License-Identifier: BSD-3-Clause
"""nginx in front of the daemon, set up as our example says."""

import shutil

import pytest

from daemon import ROOT

AROUND = """
daemon off;
user root;
pid {folder}/nginx.pid;
error_log stderr;
events {{ }}
http {{ access_log off; {example} }}
"""


def nginx(machine, folder, name, certificate, key):
    """On ports 80 and 443 for that name; what is behind it is at 127.0.0.1:8080."""
    if not shutil.which("nginx"):
        pytest.skip("nginx is not installed")
    example = (ROOT / "configs" / "reverse-proxy.nginx").read_text()
    for ours, here in (("vpn.example.com.crt", certificate), ("vpn.example.com.key", key)):
        example = example.replace(f"/etc/nginx/{ours}", str(here))
    config = folder / "nginx.conf"
    config.write_text(AROUND.format(folder=folder, example=example.replace("vpn.example.com", name)))
    return machine.start("nginx", "-c", config, name="nginx")
