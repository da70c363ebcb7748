# SPDX-License-Identifier: Apache-2.0
"""Cores of Go programs, each with what the runtime itself printed of the same moment.

Own programs (folders of testcores/) are built in variants; foreign ones come as npm packages, stripped binaries of other Go
releases, into a cache outside the tree (STACKGROUP_FOREIGN_CACHE, by default in the user's cache folder): fetched by name and
version, believed by checksum. What cannot be had raises cores.Unavailable with the reason."""

import hashlib
import os
import select
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import cores
import oracles

BUILD_SECONDS = 600  # the first build of a kind compiles Go's own packages
RUN_SECONDS = 60


@dataclass(frozen=True)
class Variant:
    name: str
    flags: tuple = ()
    cgo: bool = False


PLAIN = Variant("plain")
STRIPPED = Variant("stripped", ("-ldflags=-s -w",))
VARIANTS = {variant.name: variant for variant in (
    PLAIN,
    STRIPPED,
    Variant("pie", ("-buildmode=pie",)),
    Variant("pie-stripped", ("-buildmode=pie", "-ldflags=-s -w")),
    Variant("unoptimised", ("-gcflags=-N -l",)),
    Variant("cgo", cgo=True),
    Variant("cgo-stripped", ("-ldflags=-s -w",), cgo=True),
)}


@dataclass
class GoCore:
    path: Path
    executable: Path
    dump: str  # the runtime's: crash dump or SIGQUIT
    debug1: str = ""
    truth: str = ""  # what the program wrote of itself


def build(program, variant):
    """program: a folder of testcores/."""
    go = cores.compiler("go")
    if variant.cgo:
        cores.compiler("gcc")
    source = cores.SOURCES / program
    files = sorted(path for path in source.rglob("*") if path.is_file())
    environment = oracles.environment(GOFLAGS="", CGO_ENABLED=str(int(variant.cgo)), GOTOOLCHAIN="local", GOWORK="off",
                                      GOCACHE=os.environ.get("GOCACHE") or str(cores.cache_folder() / "go-build"))
    version = cores.run([go, "version"], env=environment)
    stamp_text = cores.digest(version, variant, *(part for path in files
                                                  for part in (str(path.relative_to(source)), path.read_bytes())))
    folder = cores.cache_folder() / f"{program}-go-{variant.name}"
    folder.mkdir(exist_ok=True)
    executable, stamp = folder / program, folder / "stamp"
    with cores.locked(folder / "lock"):
        if not (stamp.exists() and stamp.read_text() == stamp_text):
            for old in folder.iterdir():
                if old.name != "lock":
                    shutil.rmtree(old) if old.is_dir() else old.unlink()
            cores.run([go, "build", "-trimpath", *variant.flags, "-o", str(executable), "."], cwd=source, env=environment,
                      seconds=BUILD_SECONDS)
            stamp.write_text(stamp_text)
    return executable


def crash_environment(**more):
    # More processors than the machine may have: what spins leaves room for the rest.
    return oracles.environment(GOTRACEBACK="crash", GOMAXPROCS="4", **more)


def take_core(folder, target):
    found = sorted(path for path in Path(folder).iterdir() if path.name.startswith("core"))
    if not found:
        raise cores.Unavailable("the kernel wrote no core (RLIMIT_CORE?)")
    found[0].rename(target)


def write_kernel_core(executable, arguments, base):
    reason = cores.kernel_writes_plain_cores()
    if reason:
        raise cores.Unavailable(reason)
    with tempfile.TemporaryDirectory(dir=base.parent) as folder:
        with open(f"{base}.dump", "wb") as errors:
            done = subprocess.run([executable, folder, *arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=errors, env=crash_environment(), preexec_fn=cores.allow_core, timeout=RUN_SECONDS)
        assert done.returncode < 0, f"{executable} did not die of a signal: exit {done.returncode}"
        for name in ("debug1.txt", "truth.json"):
            written = Path(folder) / name
            Path(f"{base}.{written.stem}").write_bytes(written.read_bytes() if written.exists() else b"")
        take_core(folder, f"{base}.core")


def write_gcore(executable, arguments, base):
    """gdb writes the core while the program waits; then a SIGQUIT makes the runtime print what it did not change since."""
    gdb = cores.compiler("gdb")
    with tempfile.TemporaryDirectory(dir=base.parent) as folder, open(f"{base}.dump", "wb") as errors:
        child = subprocess.Popen([executable, folder, *arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=errors, env=oracles.environment(GOTRACEBACK="system", GOMAXPROCS="4", GOROUTINES_END="wait"))
        try:
            assert select.select([child.stdout], [], [], RUN_SECONDS)[0], f"{executable} did not get ready"
            time.sleep(0.2)
            cores.run([gdb, "-nx", "-batch", "-iex", "set debuginfod enabled off", "-iex", "set auto-load off", "-p", str(child.pid),
                       "-ex", f"gcore {base}.core"], seconds=cores.GDB_SECONDS, stdin=subprocess.DEVNULL)
            child.send_signal(signal.SIGQUIT)
            child.wait(RUN_SECONDS)
        finally:
            child.kill()
            child.communicate()
        shutil.copy(Path(folder) / "debug1.txt", f"{base}.debug1")
    # gdb writes reserved memory as zeros, of which Go has much.
    subprocess.run(["fallocate", "--dig-holes", f"{base}.core"], stderr=subprocess.DEVNULL)


WRITERS = {"kernel": write_kernel_core, "gcore": write_gcore}


def make_core(program, variant=PLAIN, arguments=(), kind="kernel"):
    executable = build(program, variant)
    base = executable.parent / f"{kind}-{cores.digest(*arguments)}"
    core, done = Path(f"{base}.core"), Path(f"{base}.done")
    with cores.locked(executable.parent / "lock"):
        if not (done.exists() and core.exists()):
            core.unlink(missing_ok=True)
            WRITERS[kind](executable, [str(argument) for argument in arguments], base)
            done.write_text("")
    truth = Path(f"{base}.truth")
    return GoCore(core, executable, Path(f"{base}.dump").read_text(errors="replace"), Path(f"{base}.debug1").read_text(),
                  truth.read_text() if truth.exists() else "")


# foreign programs


@dataclass(frozen=True)
class Foreign:
    package: str
    version: str
    sha256: str
    go: str
    usual: bool = False  # run by default; the others with STACKGROUP_FOREIGN=all


FOREIGN = (
    Foreign("esbuild-linux-64", "0.11.20", "f1199545c4ba85dbfb4b758350c37e9d9ebf2e79ca8d4cecceb79eb4c64fe63c", "go1.16.3", True),
    Foreign("esbuild-linux-64", "0.13.0", "dddfea1b62ef32227465234322e4afbe41890a8cc9c7cf0ee6c3c8ecb428724b", "go1.17.1"),
    Foreign("esbuild-linux-64", "0.14.45", "bb03ff78d136f4c6f5c1e279ab9eaae31c5aa89e03ebd8cf85fab41bf16ac1bb", "go1.18.3"),
    Foreign("@esbuild/linux-x64", "0.16.17", "3bf393361d71e79152b95d0b192cb05641e4441b13ffb5f9b4e59b79d5aa11a2", "go1.19.4"),
    Foreign("@esbuild/linux-x64", "0.18.20", "d755469b986aa73c7db75cb7714d6ea009016fe4a923a50945aeb9117eb176a2", "go1.20.7"),
    Foreign("@esbuild/linux-x64", "0.23.1", "2b59309c23de8066466519c8b1cdb2efb28b0869a2f6fce2fcd86f7f4e7ed9ba", "go1.22.5", True),
    Foreign("@esbuild/linux-x64", "0.25.12", "f7efc127658a108dcda9d4210b01804ee8f5d6b3acbd6d63f20aa51d3b50bd5f", "go1.23.12"),
    Foreign("@esbuild/linux-x64", "0.28.2", "9573bb2233aab0f9ea7647d5cca9726113cc1768de61d66b17267f4db84488f6", "go1.26.5", True),
)


def foreign_folder():
    folder = os.environ.get("STACKGROUP_FOREIGN_CACHE")
    if not folder:
        caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        folder = os.path.join(caches, "stackgroup", "foreign")
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)


def fetch(foreign):
    """The executable, from the cache or by npm, which knows its registry itself."""
    name = foreign.package.replace("@", "").replace("/", "-") + "-" + foreign.version
    tarball, executable = foreign_folder() / f"{name}.tgz", foreign_folder() / name
    with cores.locked(foreign_folder() / f"{name}.lock"):
        if not tarball.exists():
            npm = cores.compiler("npm")
            with tempfile.TemporaryDirectory(dir=foreign_folder()) as folder:
                try:
                    done = subprocess.run([npm, "pack", f"{foreign.package}@{foreign.version}", "--silent", "--fetch-retries=0",
                                           "--fetch-timeout=30000"], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                          stderr=subprocess.STDOUT, text=True, timeout=60)
                except subprocess.TimeoutExpired:
                    raise cores.Unavailable(f"{name}: npm pack took more than a minute") from None
                found = list(Path(folder).glob("*.tgz"))
                if done.returncode or not found:
                    raise cores.Unavailable(f"{name}: npm pack gave nothing (offline?): {done.stdout.strip()[-200:]}")
                found[0].rename(tarball)
        if hashlib.sha256(tarball.read_bytes()).hexdigest() != foreign.sha256:
            tarball.unlink()
            executable.unlink(missing_ok=True)
            raise cores.Unavailable(f"{name}: the tarball has another checksum than the one recorded")
        if not executable.exists():
            with tarfile.open(tarball) as archive, open(f"{executable}.new", "wb") as file:
                shutil.copyfileobj(archive.extractfile("package/bin/esbuild"), file)
            os.chmod(f"{executable}.new", 0o755)
            os.rename(f"{executable}.new", executable)
    return executable


def wait_for_server(port, child):
    end = time.monotonic() + RUN_SECONDS
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/a.js", timeout=5).read()
            return
        except (urllib.error.URLError, ConnectionError):
            assert child.poll() is None, f"it ended: {child.returncode}"
            time.sleep(0.05)
    raise AssertionError("the server did not answer")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def foreign_core(foreign, folder):
    """Serves a file, gets a SIGQUIT, and leaves a core and a dump in the folder. Not cached: other runs have other addresses."""
    reason = cores.kernel_writes_plain_cores()
    if reason:
        raise cores.Unavailable(reason)
    executable = fetch(foreign)
    (folder / "a.js").write_text("export let a = 1\n")
    port = free_port()
    with open(folder / "dump", "wb") as errors:
        child = subprocess.Popen([executable, "a.js", "--bundle", "--outdir=o", "--servedir=.", f"--serve=127.0.0.1:{port}"],
                                 cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors,
                                 env=crash_environment(), preexec_fn=cores.allow_core)
        try:
            wait_for_server(port, child)
            with socket.create_connection(("127.0.0.1", port)):  # a goroutine that waits for its request
                time.sleep(0.3)
                child.send_signal(signal.SIGQUIT)
                child.wait(RUN_SECONDS)
        finally:
            child.kill()
            child.communicate()
    take_core(folder, folder / "foreign.core")
    return GoCore(folder / "foreign.core", executable, (folder / "dump").read_text(errors="replace"))
