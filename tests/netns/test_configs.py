# SPDX-License-Identifier: BSD-3-Clause
"""Each example in configs/ is accepted, and printing it back is stable."""

import pytest

from daemon import DAEMON, ROOT

EXAMPLES = sorted((ROOT / "configs").glob("**/*.conf"))


@pytest.mark.parametrize("example", EXAMPLES, ids=[p.stem for p in EXAMPLES])
def test_example(net, example):
    machine = net.machine("host")
    machine.run(DAEMON, "-n", "-c", example)
    printed = machine.run(DAEMON, "-nv", "-c", example).stdout
    again = machine.net.dir / "again.conf"
    again.write_text(printed)
    assert machine.run(DAEMON, "-nv", "-c", again).stdout == printed
