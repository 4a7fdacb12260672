# SPDX-License-Identifier: BSD-3-Clause
"""What the kernel says of a program's AF_XDP sockets."""

import ctypes
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)

PIDFD_GETFD = 438
SOL_XDP, XDP_STATISTICS = 283, 7
NAMES = ("rx_dropped", "rx_invalid", "tx_invalid", "rx_ring_full", "rx_fill_ring_empty", "tx_ring_empty")


def _socket_numbers(pid):
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{number}").startswith("socket:"):
                yield int(number)
        except FileNotFoundError:
            pass  # closed meanwhile


def xdp_statistics(pid):
    """One dict for each AF_XDP socket (struct xdp_statistics of linux/if_xdp.h)."""
    found = []
    pidfd = os.pidfd_open(pid)
    for number in _socket_numbers(pid):
        fd = _libc.syscall(PIDFD_GETFD, pidfd, number, 0)
        if fd < 0:
            continue
        buf, size = ctypes.create_string_buffer(8 * len(NAMES)), ctypes.c_uint(8 * len(NAMES))
        if _libc.getsockopt(fd, SOL_XDP, XDP_STATISTICS, buf, ctypes.byref(size)) == 0:
            found.append(dict(zip(NAMES, struct.unpack(f"{len(NAMES)}Q", buf.raw))))
        os.close(fd)
    os.close(pidfd)
    return found
