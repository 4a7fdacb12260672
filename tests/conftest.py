# SPDX-License-Identifier: BSD-3-Clause
import pytest

from machine import Network, need_namespaces


def pytest_configure(config):
    config.addinivalue_line("markers", "first: runs before the others (it starts something that takes long)")
    config.addinivalue_line("markers", "short: a minute and a half of the interop suite: each flow of a tailnet once")
    config.addinivalue_line("markers", "last: runs after the others (it looks at what was started first)")


def pytest_collection_modifyitems(items):
    def place(item):
        return -1 if item.get_closest_marker("first") else 1 if item.get_closest_marker("last") else 0

    items.sort(key=place)


@pytest.fixture
def net(tmp_path_factory):
    """A private network; all that ran in it must have lived until the end. Its folder is not named
    after the test: sockets' names have little room."""
    need_namespaces()
    network = Network(tmp_path_factory.mktemp("net"))
    yield network
    network.close()
