# SPDX-License-Identifier: Apache-2.0
"""The Debian package, as far as it can be judged without building it: scripts/build-package and scripts/try-package do the rest."""

import re
import subprocess

from cores import ROOT

DEBIAN = ROOT / "debian"


def paragraphs(path):
    return [dict(re.findall(r"^([\w-]+):((?:.*\n)(?: .*\n)*)", part + "\n", re.MULTILINE)) for part in path.read_text().split("\n\n")]


def names(field):
    return {re.split(r"[ (<]", entry.strip())[0] for entry in field.split(",") if entry.strip()}


def set_of(name):
    """A set of scripts/install-packages, whether or not its packages are there."""
    script = (ROOT / "scripts" / "install-packages").read_text()
    sets = "".join(re.findall(r'^set_\w+="[^"]*"\n', script, re.MULTILINE))
    done = subprocess.run(["bash", "-c", f"{sets}echo $set_{name}"], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_what_the_build_needs_is_installed():
    wanted = names(paragraphs(DEBIAN / "control")[0]["Build-Depends"])
    assert len(wanted) > 10
    assert wanted - {"debhelper-compat"} <= set_of("package")
    assert "debhelper" in set_of("package")
    # What the build of scripts/demo needs is what the package needs, but for the compiler and ninja, which others bring along.
    assert set_of("build") - {"gcc", "libc6-dev", "ninja-build"} <= wanted


def test_one_version():
    version = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text())[1]
    assert (DEBIAN / "changelog").read_text().startswith(f"stackgroup ({version}) ")


def test_every_binary_package_has_files():
    packages = [paragraph["Package"].strip() for paragraph in paragraphs(DEBIAN / "control")[1:]]
    assert packages == ["stackgroup", "libstackgroup0", "libstackgroup-dev"]
    for package in packages:
        assert (DEBIAN / f"{package}.install").read_text().strip()


def test_scripts_are_well_formed():
    for script in ("scripts/build-package", "scripts/try-package", "scripts/hung-test", "debian/stackgroup.prerm", "debian/tests/installed"):
        subprocess.run(["bash", "-n", ROOT / script], check=True)
