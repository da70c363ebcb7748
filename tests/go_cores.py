# SPDX-License-Identifier: Apache-2.0
"""Cores of Go programs, each with what the runtime itself printed of the same moment.

Own programs (folders of testcores/) are built in variants; foreign ones come as npm packages, stripped binaries of other Go
releases, into a cache outside the tree (STACKGROUP_FOREIGN_CACHE, by default in the user's cache folder): fetched by name and
version, believed by checksum. What cannot be had raises cores.Unavailable with the reason."""

import contextlib
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


def build(program, variant, machine=""):
    """program: a folder of testcores/; machine: another than this one's, as Go calls it."""
    go = cores.compiler("go")
    if variant.cgo:
        cores.compiler("gcc")
    source = cores.SOURCES / program
    files = sorted(path for path in source.rglob("*") if path.is_file())
    environment = oracles.environment(GOFLAGS="", CGO_ENABLED=str(int(variant.cgo)), GOTOOLCHAIN="local", GOWORK="off",
                                      GOCACHE=os.environ.get("GOCACHE") or str(cores.cache_folder() / "go-build"),
                                      **({"GOARCH": machine} if machine else {}))
    version = cores.run([go, "version"], env=environment)
    stamp_text = cores.digest(version, variant, *(part for path in files
                                                  for part in (str(path.relative_to(source)), path.read_bytes())))
    folder = cores.cache_folder() / f"{program}-go-{machine}{variant.name}"
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


def emulated_core(folder):
    """The core that the emulator wrote of its program; the one that the kernel wrote of the emulator is of no use."""
    for path in Path(folder).glob("core*"):
        path.unlink()
    found = list(Path(folder).glob("qemu_*.core"))
    if not found:
        raise cores.Unavailable("the emulator wrote no core (RLIMIT_CORE?)")
    return found[0]


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

    @property
    def program(self):
        return "lefthook" if self.package.startswith("lefthook") else "esbuild"


FOREIGN = (
    Foreign("esbuild-linux-64", "0.1.0", "77413e02023d2e99957c4f8aabda1b1bc944c88c5fc7a712f0b0a73709f5d36f", "go1.13.8", True),
    Foreign("esbuild-linux-64", "0.5.0", "728cd812b52de1a74a09f3d97b6d103f63514b81c3803ea2d81c584a634e713e", "go1.14.2"),
    Foreign("esbuild-linux-64", "0.7.22", "b2c89ad8bd9b654bf6e462fbb10feb522a2856b02893563cccce805bf1244041", "go1.15"),
    Foreign("esbuild-linux-64", "0.8.57", "76762543a555ecccf834013c92a1245ec3707241595b243e8e3a92546d4dbe50", "go1.16"),
    Foreign("esbuild-linux-64", "0.11.20", "f1199545c4ba85dbfb4b758350c37e9d9ebf2e79ca8d4cecceb79eb4c64fe63c", "go1.16.3", True),
    Foreign("esbuild-linux-64", "0.13.0", "dddfea1b62ef32227465234322e4afbe41890a8cc9c7cf0ee6c3c8ecb428724b", "go1.17.1"),
    Foreign("esbuild-linux-64", "0.14.45", "bb03ff78d136f4c6f5c1e279ab9eaae31c5aa89e03ebd8cf85fab41bf16ac1bb", "go1.18.3"),
    Foreign("@esbuild/linux-x64", "0.16.17", "3bf393361d71e79152b95d0b192cb05641e4441b13ffb5f9b4e59b79d5aa11a2", "go1.19.4"),
    Foreign("@esbuild/linux-x64", "0.18.20", "d755469b986aa73c7db75cb7714d6ea009016fe4a923a50945aeb9117eb176a2", "go1.20.7"),
    Foreign("lefthook-linux-x64", "1.5.5", "46d64edf804fb89aa3731eecefadedebaed2c9229a792895543ed13d1553169f", "go1.21.4"),
    Foreign("@esbuild/linux-x64", "0.23.1", "2b59309c23de8066466519c8b1cdb2efb28b0869a2f6fce2fcd86f7f4e7ed9ba", "go1.22.5", True),
    Foreign("@esbuild/linux-x64", "0.25.12", "f7efc127658a108dcda9d4210b01804ee8f5d6b3acbd6d63f20aa51d3b50bd5f", "go1.23.12"),
    Foreign("lefthook-linux-x64", "1.12.2", "a56f965a35e127722d79a213eb65ab1987229227bb858daa88f762cf9c5cda5d", "go1.24.4", True),
    Foreign("@esbuild/linux-x64", "0.27.0", "b400ff0437cfe819bbc0f1aee1d265940e3ecebbcb29da7c47466c799dc9696b", "go1.25.4"),
    Foreign("@esbuild/linux-x64", "0.28.2", "9573bb2233aab0f9ea7647d5cca9726113cc1768de61d66b17267f4db84488f6", "go1.26.5", True),
    Foreign("lefthook-linux-x64", "2.2.2", "8af2a644313118781cccf6d6a0e5c858086f11fbcc9df8daf3464ac9d0509c80", "go1.27.0", True),
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
                shutil.copyfileobj(archive.extractfile(f"package/bin/{foreign.program}"), file)
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


@contextlib.contextmanager
def serving(child, port):
    """esbuild serves a file; a goroutine waits for the request of a connection."""
    wait_for_server(port, child)
    with socket.create_connection(("127.0.0.1", port)):
        time.sleep(0.3)
        yield


@contextlib.contextmanager
def settled(child, _):
    """At rest: no thread has run for a while."""
    end, same, before = time.monotonic() + RUN_SECONDS, 0, None
    while same < 5 and time.monotonic() < end:
        assert child.poll() is None, f"it ended: {child.returncode}"
        now = [path.read_text().split()[13:15] for path in Path(f"/proc/{child.pid}/task").glob("*/stat")]
        same = same + 1 if now == before and len(now) > 1 else 0
        before = now
        time.sleep(0.1)
    yield


def start_serving(folder, port):
    (folder / "a.js").write_text("export let a = 1\n")
    return ["a.js", "--bundle", "--outdir=o", "--servedir=.", f"--serve=127.0.0.1:{port}"]


def start_bundling(folder, _):
    """Before 0.8 it does not serve: files that nobody writes keep it reading."""
    names = [f"{i}.js" for i in range(4)]
    for name in names:
        os.mkfifo(folder / name)
    (folder / "a.js").write_text("".join(f"import './{name}'\n" for name in names))
    return ["a.js", "--bundle"]


def start_hooks(folder, _):
    """lefthook waits for commands of a commit."""
    git = cores.compiler("git")
    (folder / "lefthook.yml").write_text("pre-commit:\n  parallel: true\n  commands:\n"
                                         + "".join(f"    c{i}:\n      run: sleep 60\n" for i in range(6)))
    cores.run([git, "init", "-q", "."], cwd=folder)
    cores.run([git, "add", "lefthook.yml"], cwd=folder)
    return ["run", "pre-commit"]


def way_of(foreign):
    if foreign.program == "lefthook":
        return start_hooks, settled
    old = foreign.go.startswith(("go1.13.", "go1.14.", "go1.15"))
    return (start_bundling, settled) if old else (start_serving, serving)


def foreign_core(foreign, folder, emulator=()):
    """Gets a SIGQUIT at its work and leaves a core and a dump in the folder. Not cached: other runs have other addresses."""
    reason = cores.kernel_writes_plain_cores()
    if reason and not emulator:
        raise cores.Unavailable(reason)
    executable = fetch(foreign)
    port = free_port()
    start, at_work = way_of(foreign)
    with open(folder / "dump", "wb") as errors:
        child = subprocess.Popen([*emulator, executable, *start(folder, port)], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                 stderr=errors, env=crash_environment(HOME=str(folder)), preexec_fn=cores.allow_core,
                                 start_new_session=True)
        try:
            with at_work(child, port):
                child.send_signal(signal.SIGQUIT)
                child.wait(RUN_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # what it started too
            child.communicate()
    if emulator:
        shutil.move(emulated_core(folder), folder / "foreign.core")
    else:
        take_core(folder, folder / "foreign.core")
    return GoCore(folder / "foreign.core", executable, (folder / "dump").read_text(errors="replace"))
