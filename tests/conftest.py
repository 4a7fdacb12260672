# SPDX-License-Identifier: BSD-3-Clause
import os

import pytest

from machine import Network


def pytest_configure(config):
    config.addinivalue_line("markers", "first: runs before the others (it starts something that takes long)")
    config.addinivalue_line("markers", "last: runs after the others (it looks at what was started first)")


def pytest_collection_modifyitems(items):
    def place(item):
        return -1 if item.get_closest_marker("first") else 1 if item.get_closest_marker("last") else 0

    items.sort(key=place)


def need_namespaces():
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if not os.path.exists("/dev/net/tun"):
        pytest.skip("/dev/net/tun is missing on this machine")


@pytest.fixture
def net(tmp_path):
    """A private network; all that ran in it must have lived until the end."""
    need_namespaces()
    network = Network(tmp_path)
    yield network
    network.close()
