# SPDX-License-Identifier: BSD-3-Clause
"""Each implementation of the AEAD that this machine can run, forced, against WireGuard that we did not
write: single packets of many sizes, then full speed both ways, the contents compared."""

import pytest

from pair import make_pair
from traffic import ping, transfer, wait_ping
from wg import newest

KERNELS = ("avx512", "avx512-1x16", "avx2", "portable")
SIZES = (0, 1, 8, 15, 16, 17, 100, 228, 484, 740, 1020, 1372)  # of an echo's data, in IPv6 too


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel(net, kernel, monkeypatch):
    monkeypatch.setenv("TAILPLANE_AEAD", kernel)
    try:
        pair = make_pair(net, newest(), workers=2)
    except AssertionError as e:
        if "cannot run on this machine" not in str(e):
            raise
        net.programs.clear()  # the daemon, which ended as it had to
        pytest.skip(f"{kernel} cannot run on this machine")
    assert pair.daemon.call("status")["aead"] == kernel
    wait_ping(pair.cl, "10.9.0.1")
    for size in SIZES:
        assert ping(pair.cl, "fd09::1", count=1, size=size, timeout=10).received == 1, size
        assert ping(pair.gw, "10.9.0.2", count=1, size=size, timeout=10).received == 1, size
    transfer(pair.cl, pair.gw, "10.9.0.1", megabytes=8)
    transfer(pair.gw, pair.cl, "fd09::2", megabytes=8)
    lost = {row["reason"] for row in pair.daemon.call("drops") if row["packets"]}
    assert not lost & {"wg_input_auth", "wg_input_replay", "wg_input_inner"}, lost
