# SPDX-License-Identifier: Apache-2.0
"""Programs that stand still in a known way (testcores/stalls.*, shop, clients.c, workers.c, sockets.c), and what stackgroup
finds in them. They are built for each run: they are small, and no core of theirs is kept."""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import cores
import oracles

# Libraries of the programs that need one, as pkg-config calls them.
CLIENTS = {"CLIENT_LIBPQ": "libpq", "CLIENT_HIREDIS": "hiredis", "CLIENT_MYSQL": "libmariadb"}


STRIPPED = next(variant for variant in cores.C_VARIANTS if variant.name == "gcc-stripped")
STATIC = next(variant for variant in cores.C_VARIANTS if variant.name == "gcc-static")
VARIANTS = {
    "c": cores.C_BASE,
    "c-stripped": STRIPPED,
    "c-static": STATIC,
    "c++": cores.CXX_VARIANTS[0],
    "rust": next(variant for variant in cores.RUST_VARIANTS if variant.name == "rust-v0"),
    "rust-legacy": cores.RUST_VARIANTS[0],
}
SOURCES = {"c": "stalls.c", "c++": "stalls.cc", "rust": "stalls.rs"}


def stackgroup_json(*arguments):
    """The whole document; a run that lost something is a failure here."""
    done = oracles.stackgroup_run("--format=json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def found(*arguments):
    """The findings. On a machine with too much to do a live thread may not stop in time: then it is looked at again."""
    for _ in range(5):
        document = stackgroup_json(*arguments)
        if not any(entry["code"].startswith("not-stopped") for entry in document["diagnostics"]):
            break
    return document["findings"]


def above_info(findings):
    return [finding for finding in findings if finding["severity"] != "info"]


def ids(findings):
    return sorted({finding["id"] for finding in findings})


def told(finding):
    """All that a finding says in words."""
    return "\n".join([finding["title"], *finding.get("evidence", [])])


def threads_named(finding):
    """Ids of the threads or goroutines on the edges of a finding: those that are named."""
    named = set()
    for edge in finding.get("edges", []):
        for side in ("waiter", "holder"):
            if side in edge and "id" in edge[side]:
                named.add(int(edge[side]["id"]))
    return named


def cycles(finding):
    """Each cycle as the set of its members."""
    return [frozenset(int(member) for member in cycle) for cycle in finding.get("cycles", [])]


@dataclass
class Stalls:
    """One built program of testcores/stalls.*."""

    program: cores.Program
    variant: cores.Variant
    folder: Path
    executable: Path

    def build(self, *arguments):
        return cores.Build(self.program, self.variant, self.folder, self.executable, tuple(map(str, arguments)))

    @contextlib.contextmanager
    def running(self, *arguments):
        """The process in its standstill, with the truth: ids by role."""
        truth = self.folder / f"{arguments[0]}.truth.json"
        with cores.waiting(self.build(*arguments), truth) as child:
            yield child.pid, roles(truth)

    def core(self, *arguments):
        """A core in the same standstill, the kernel's where it can be had, with the truth of its process."""
        kind = "gcore" if cores.kernel_writes_plain_cores() else "kernel"
        core, truth = (self.folder / f"{arguments[0]}.{suffix}" for suffix in ("core", "core.truth.json"))
        core.unlink(missing_ok=True)
        cores.WRITERS[kind](self.build(*arguments), core, truth)
        return core, roles(truth)


def roles(truth):
    return {group["name"]: group["tids"] for group in json.loads(truth.read_text())["groups"]}


def build_stalls(name, folder):
    """name: one of VARIANTS. Raises cores.Unavailable."""
    variant = VARIANTS[name]
    source = SOURCES[name.split("-")[0]]
    program = cores.Program("stalls", source, (variant,))
    executable = folder / "stalls"
    builder = cores.build_rust if source.endswith(".rs") else cores.build_plain
    cores.compiler(variant.compiler)
    builder(program, variant, folder, executable)
    cores.AFTER[variant.after](folder, executable)
    return Stalls(program, variant, folder, executable)


def build_library(folder):
    """The library of `stalls loader`."""
    library = folder / "libplugin.so"
    cores.run(cores.c_command(cores.C_BASE, [cores.SOURCES / "stalls_library.c"], library, ("-shared", "-fPIC")))
    return library


def build_with(source, define, package, folder):
    """A program that needs a library: skips by raising cores.Unavailable."""
    pkg_config = cores.compiler("pkg-config")
    asked = subprocess.run([pkg_config, "--cflags", "--libs", package], capture_output=True, text=True)
    if asked.returncode:
        raise cores.Unavailable(f"no {package}: {asked.stderr.strip().splitlines()[0]}")
    executable = folder / f"{Path(source).stem}-{define.lower()}"
    cores.run(cores.c_command(cores.C_BASE, [cores.SOURCES / source], executable, (f"-D{define}", *asked.stdout.split())))
    return executable


def build_plain(source, folder):
    executable = folder / Path(source).stem
    cores.run(cores.c_command(cores.C_BASE, [cores.SOURCES / source], executable))
    return executable


@contextlib.contextmanager
def ready(command, **options):
    """A process that says "ready" and stays until the block is left."""
    child = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                             start_new_session=True, **options)
    try:
        while True:
            if not select.select([child.stdout], [], [], 60)[0]:
                raise RuntimeError(f"{command[0]} did not get ready")
            line = child.stdout.readline()
            if line == "ready\n":
                break
            if not line:
                raise RuntimeError(f"{command[0]} ended: {child.wait(10)}")
        yield child
    finally:
        # Its children too: they have our pipe.
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


def child_of(pid):
    children = [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]
    assert len(children) == 1, children
    return children[0]


def build_shop(folder):
    """The Go program; Go keeps what it built in a cache of its own."""
    go = cores.compiler("go")
    environment = {**os.environ, "GO111MODULE": "on", "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local",
                   "GOCACHE": os.environ.get("GOCACHE", str(folder / "go-cache")), "CGO_ENABLED": "0"}
    executable = folder / "shop"
    cores.run([go, "build", "-trimpath", "-o", str(executable), "."], cwd=cores.SOURCES / "shop", env=environment, seconds=300)
    return executable


def shop_dump(shop, case, form, folder):
    """The goroutines of a case as the runtime prints them: form 1 or 2."""
    path = folder / f"{case}.debug{form}.txt"
    if not path.exists():
        path.write_bytes(subprocess.run([shop, case, str(form)], stdout=subprocess.PIPE, timeout=60, check=True).stdout)
    return path


def goroutines_in(dump, function):
    """Ids of the goroutines of a debug=2 dump in whose stack the function stands."""
    blocks = re.split(r"\n\n(?=goroutine )", dump.read_text())
    return {int(block.split()[1]) for block in blocks if re.search(rf"^{re.escape(function)}\(", block, re.MULTILINE)}
