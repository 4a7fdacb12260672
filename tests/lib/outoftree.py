# SPDX-License-Identifier: BSD-3-Clause
"""Plugins built from what `meson install` puts on a machine, with nothing of the tree in sight."""

import os
import shutil
import subprocess

from daemon import BUILD, ROOT


def install(tmp_path):
    installed = tmp_path / "installed"
    subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", installed],
                   check=True, capture_output=True)
    return installed


def build_outside(plugin, tmp_path):
    """The installed tree, then the plugin with nothing but it in sight. Returns the plugin's folder."""
    installed, source, build = install(tmp_path), tmp_path / "source", tmp_path / "out"
    shutil.copytree(plugin, source)
    pc = next(installed.rglob("tailplane.pc")).parent
    env = {**os.environ, "PKG_CONFIG_PATH": str(pc), "PKG_CONFIG_SYSROOT_DIR": str(installed)}
    # the system's own packages do not lie in the sysroot
    env["PKG_CONFIG_SYSROOT_DIR"] = ""
    for path in pc.glob("tailplane*.pc"):
        text = path.read_text()
        prefix = next(l for l in text.splitlines() if l.startswith("prefix=")).split("=", 1)[1]
        path.write_text(text.replace(f"prefix={prefix}", f"prefix={installed}{prefix}", 1))
    for command in (["meson", "setup", build, source], ["ninja", "-C", build]):
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert str(ROOT) not in str(build)
    return build


def load_from(folder, monkeypatch):
    path = os.environ.get("TAILPLANE_PLUGIN_PATH", f"{BUILD}/dataplane:{BUILD}/control:{BUILD}/plugins/gateway")
    monkeypatch.setenv("TAILPLANE_PLUGIN_PATH", f"{path}:{folder}")
