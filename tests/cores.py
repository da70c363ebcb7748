# SPDX-License-Identifier: Apache-2.0
"""Builds the programs of testcores/ in their variants, on demand, and makes cores of them.

A case is a program, a variant and a kind of core ("kernel": the process aborts and the kernel writes the core; "gcore": gdb writes
it while the process waits). Everything is cached in a folder under the build folder; a changed source, command or header makes it
anew. What cannot be made here (no such compiler, core_pattern is a pipe) raises Unavailable with the reason.

Also a program: `python3 tests/cores.py --list`, `python3 tests/cores.py many --kind kernel -- 10000 20` prints where the core is.
"""

import argparse
import contextlib
import fcntl
import functools
import hashlib
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "testcores"
HEADERS = ("truth.h", "parking.h")
COMPILE_SECONDS = 120
RUN_SECONDS = 120
GDB_SECONDS = 120

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-unused-function")


class Unavailable(Exception):
    """Something that this machine cannot make; the message says what is missing."""


@dataclass(frozen=True)
class Variant:
    """How a program is built. names: function names can be had; inlines: debug info says what was inlined; leaf: the innermost
    functions are glibc's, which the truth knows by name."""

    name: str
    compiler: str
    flags: tuple = ()
    after: str = ""
    names: bool = True
    inlines: bool = True
    leaf: bool = True


@dataclass(frozen=True)
class Program:
    name: str
    source: str
    variants: tuple
    arguments: tuple = ()
    dies: bool = False  # it crashes in its own way, so only the kernel can write its core
    build: str = "plain"
    spins: bool = False  # a thread runs: two looks at it differ


NO_TABLES = ("-fno-asynchronous-unwind-tables", "-fno-unwind-tables")

C_BASE = Variant("gcc-O2", "gcc", ("-O2", "-g"))
C_VARIANTS = (
    C_BASE,
    Variant("gcc-O0", "gcc", ("-O0", "-g")),
    Variant("gcc-O3", "gcc", ("-O3", "-g")),
    Variant("gcc-nopie", "gcc", ("-O2", "-g", "-no-pie", "-fno-pie")),
    Variant("gcc-static", "gcc", ("-O2", "-g", "-static")),
    Variant("gcc-static-pie", "gcc", ("-O2", "-g", "-static-pie")),
    Variant("gcc-nodebug", "gcc", ("-O2",), inlines=False),
    Variant("gcc-stripped", "gcc", ("-O2",), after="strip", names=False, inlines=False),
    Variant("gcc-static-stripped", "gcc", ("-O2", "-static"), after="strip", names=False, inlines=False),
    Variant("gcc-omit-fp", "gcc", ("-O2", "-g", "-fomit-frame-pointer")),
    Variant("gcc-fp", "gcc", ("-O2", "-g", "-fno-omit-frame-pointer")),
    Variant("gcc-no-eh-frame", "gcc", ("-O2", *NO_TABLES, "-fno-omit-frame-pointer", "-DTC_NO_CFI"), inlines=False),
    Variant("gcc-debug-frame", "gcc", ("-O2", "-g", *NO_TABLES, "-fomit-frame-pointer")),
    Variant("gcc-dwarf4", "gcc", ("-O2", "-gdwarf-4")),
    Variant("gcc-compressed", "gcc", ("-O2", "-g", "-gz=zlib")),
    # What was inlined is in the .dwo file, beside the object file: on another machine than the core's, as a rule.
    Variant("gcc-split", "gcc", ("-O1", "-g", "-gsplit-dwarf"), inlines=False),
    Variant("gcc-lto", "gcc", ("-O2", "-g", "-flto", "-fno-lto-odr-type-merging")),
    Variant("gcc-debuglink", "gcc", ("-O2", "-g"), after="debuglink"),
    Variant("gcc-debugdata", "gcc", ("-O2", "-g"), after="debugdata", inlines=False),
    Variant("clang-O0", "clang", ("-O0", "-g")),
    Variant("clang-O2", "clang", ("-O2", "-g")),
    Variant("clang-fp-nodebug", "clang", ("-O2", "-fno-omit-frame-pointer"), inlines=False),
    Variant("musl-static", "musl-gcc", ("-O2", "-g", "-static"), leaf=False),
    Variant("musl", "musl-gcc", ("-O2", "-g"), leaf=False),
)
C_FEW = (C_BASE, Variant("clang-O1", "clang", ("-O1", "-g")), Variant("gcc-nodebug", "gcc", ("-O2",), inlines=False))
CXX_VARIANTS = (
    Variant("gxx-O2", "g++", ("-O2", "-g")),
    Variant("gxx-O0", "g++", ("-O0", "-g")),
    Variant("clangxx-O2", "clang++", ("-O2", "-g")),
    Variant("gxx-static", "g++", ("-O2", "-g", "-static")),
    Variant("gxx-stripped", "g++", ("-O2",), after="strip", names=False, inlines=False),
)
RUST_VARIANTS = (
    # Without the switch of the unstable option the compiler's release decides which mangling is the default.
    Variant("rust-legacy", "rustc", ("-O", "-g", "-Zunstable-options", "-Csymbol-mangling-version=legacy")),
    Variant("rust-v0", "rustc", ("-O", "-g", "-Csymbol-mangling-version=v0")),
    Variant("rust-v0-debug", "rustc", ("-g", "-Csymbol-mangling-version=v0")),
    Variant("rust-nodebug", "rustc", ("-O",), inlines=False),
    Variant("rust-stripped", "rustc", ("-O", "-Cstrip=symbols"), names=False, inlines=False),
)

PROGRAMS = {
    program.name: program
    for program in (
        Program("parked", "parked.c", C_VARIANTS),
        Program("vdso", "vdso.c", (C_BASE, C_VARIANTS[1], C_VARIANTS[4]), spins=True),
        Program("deadlock_pool", "deadlock_pool.c", C_FEW),
        Program("many", "many.c", (C_BASE, C_VARIANTS[7]), arguments=("99", "17")),
        *(
            Program(f"crash-{how}", "crash.c", C_FEW, arguments=(how,), dies=True)
            for how in ("null", "null-deep", "divide", "read", "trap", "illegal", "abort", "overflow", "kill")
        ),
        Program("waits", "waits.cc", CXX_VARIANTS),
        Program("unwinding", "unwinding.cc", CXX_VARIANTS),
        Program("terminate", "unwinding.cc", CXX_VARIANTS[:3], arguments=("terminate",), dies=True),
        Program("libraries", "libraries.c", (C_BASE,), build="libraries"),
        Program("rust", "parked.rs", RUST_VARIANTS, build="rust"),
    )
}


@dataclass
class Build:
    program: Program
    variant: Variant
    folder: Path
    executable: Path
    arguments: tuple = ()


@dataclass
class Core:
    """A core with the truth of its program; sidecar is what was recorded about its making (written_by among it)."""

    build: Build
    kind: str
    path: Path
    truth: dict
    sidecar: dict = field(default_factory=dict)

    @property
    def name(self):
        return f"{self.build.program.name}/{self.build.variant.name}/{self.kind}"

    @property
    def executable(self):
        return self.build.executable


def cache_folder():
    folder = Path(os.environ.get("TESTCORES_CACHE") or ROOT / "build" / "testcores")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@functools.lru_cache(maxsize=None)
def compiler(name):
    path = shutil.which(name)
    if not path:
        raise Unavailable(f"no {name}")
    return path


def run(command, seconds=COMPILE_SECONDS, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, text=True,
                          errors="replace", **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


@contextlib.contextmanager
def locked(path):
    """Two test runs may share a cache: one makes, the other waits."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def digest(*parts):
    sum_ = hashlib.sha256()
    for part in parts:
        sum_.update(part if isinstance(part, bytes) else repr(part).encode())
    return sum_.hexdigest()[:16]


# building


def after_strip(folder, file):
    run(["strip", "--strip-all", file])


def after_debuglink(folder, file):
    run(["objcopy", "--only-keep-debug", file, f"{file}.debug"])
    run(["strip", "--strip-all", file])
    run(["objcopy", f"--add-gnu-debuglink={file.name}.debug", file.name], cwd=folder)


def after_debugdata(folder, file):
    """MiniDebugInfo: the symbol table alone, in an xz inside the stripped file."""
    compiler("xz")
    mini = folder / f"{file.name}.mini"
    run(["objcopy", "--only-keep-debug", file, mini])
    run(["objcopy", "--strip-debug", mini])
    run(["xz", "-f", mini])
    run(["strip", "--strip-all", file])
    run(["objcopy", f"--add-section=.gnu_debugdata={mini}.xz", file])


AFTER = {"": lambda folder, file: None, "strip": after_strip, "debuglink": after_debuglink, "debugdata": after_debugdata}


def c_command(variant, sources, output, extra=()):
    command = [compiler(variant.compiler), "-D_GNU_SOURCE", *WARNINGS, "-pthread", *variant.flags, *map(str, sources)]
    if variant.compiler.endswith("++"):
        command[1:1] = ["-std=c++17"]
    return [*command, *extra, "-o", str(output)]


def build_plain(program, variant, folder, executable):
    run(c_command(variant, [SOURCES / program.source], executable), cwd=folder)


LIBRARIES = {"tc_plain": "", "tc_debuglink": "debuglink", "tc_debugdata": "debugdata", "tc_stripped": "strip", "tc_opened": ""}


def build_libraries(program, variant, folder, executable):
    for name, after in LIBRARIES.items():
        library = folder / f"lib{name}.so"
        run(c_command(variant, [SOURCES / "library.c"], library, ("-shared", "-fPIC", f"-DLIBRARY={name}")), cwd=folder)
        AFTER[after](folder, library)
    linked = [f"-l{name}" for name in LIBRARIES if name != "tc_opened"]
    run(c_command(variant, [SOURCES / program.source], executable, (f"-L{folder}", f"-Wl,-rpath,{folder}", *linked)), cwd=folder)


def build_rust(program, variant, folder, executable):
    rustc = compiler(variant.compiler)
    calls = folder / "truth_calls.o"
    run([compiler("gcc"), "-D_GNU_SOURCE", "-O2", "-c", str(SOURCES / "truth_calls.c"), "-o", str(calls)])
    run([rustc, "--edition", "2021", "--crate-name", "rust_parked", *variant.flags, str(SOURCES / program.source),
         f"-Clink-arg={calls}", "-o", str(executable)], cwd=folder, env={**os.environ, "RUSTC_BOOTSTRAP": "1"})


BUILDERS = {"plain": build_plain, "libraries": build_libraries, "rust": build_rust}


def build(program, variant, arguments=None):
    """Programs that share source and variant share the executable; their cores lie beside it."""
    compiler(variant.compiler)
    name = f"{Path(program.source).stem}-{Path(program.source).suffix[1:]}-{variant.name}"
    folder = cache_folder() / name
    folder.mkdir(exist_ok=True)
    executable = folder / Path(program.source).stem
    sources = [(SOURCES / file).read_bytes() for file in (program.source, *HEADERS, "library.c", "truth_calls.c")]
    stamp_text = digest(variant, program.build, Path(__file__).read_bytes(), *sources)
    stamp = folder / "stamp"
    with locked(folder / "lock"):
        if not (stamp.exists() and stamp.read_text() == stamp_text):
            for old in folder.iterdir():
                if old.name != "lock":
                    shutil.rmtree(old) if old.is_dir() else old.unlink()
            BUILDERS[program.build](program, variant, folder, executable)
            AFTER[variant.after](folder, executable)
            stamp.write_text(stamp_text)
    if arguments is None:
        arguments = program.arguments
    if program.build == "libraries":
        arguments = (*arguments, str(folder / "libtc_opened.so"))
    return Build(program, variant, folder, executable, tuple(map(str, arguments)))


# making cores


def kernel_writes_plain_cores():
    try:
        pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    except OSError as error:
        return f"core_pattern cannot be read: {error}"
    if pattern.startswith("|"):
        return f"core_pattern is a pipe: {pattern}"
    if "/" in pattern or not pattern:
        return f"core_pattern is no plain file name: {pattern!r}"
    return None


def allow_core():
    """Runs in the child before exec. A hard limit of zero cannot be raised by everybody: then no core comes and the caller says so."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def child_environment(truth, end):
    return {**os.environ, "TESTCORE_TRUTH": str(truth), "TESTCORE_END": end}


def write_kernel_core(built, core, truth):
    reason = kernel_writes_plain_cores()
    if reason:
        raise Unavailable(reason)
    with tempfile.TemporaryDirectory(dir=built.folder) as cwd:
        done = subprocess.run([str(built.executable), *built.arguments], cwd=cwd, env=child_environment(truth, "abort"),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              preexec_fn=allow_core, timeout=RUN_SECONDS)
        if done.returncode >= 0:
            raise RuntimeError(f"{built.executable} did not die of a signal: exit {done.returncode}\n{done.stderr}")
        found = sorted(Path(cwd).iterdir())
        if not found:
            raise Unavailable(f"the kernel wrote no core for {built.executable} (RLIMIT_CORE?)")
        found[0].rename(core)
    return {"written_by": "kernel", "died_of": -done.returncode}


@contextlib.contextmanager
def waiting(built, truth):
    """The program as a process that stands still, its truth written; ended on the way out."""
    child = subprocess.Popen([str(built.executable), *built.arguments], cwd=built.folder, env=child_environment(truth, "wait"),
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        if not select.select([child.stdout], [], [], RUN_SECONDS)[0] or child.stdout.readline() != "ready\n":
            raise RuntimeError(f"{built.executable} did not get ready: {child.poll()}")
        # "ready" comes before the main thread is in its last wait.
        wait_until_main_sleeps(child.pid)
        yield child
    finally:
        child.kill()
        child.communicate()


def write_gcore(built, core, truth):
    gdb = compiler("gdb")
    with waiting(built, truth) as child:
        output = run([gdb, "-nx", "-batch", "-iex", "set debuginfod enabled off", "-p", str(child.pid), "-ex", f"gcore {core}"],
                     seconds=GDB_SECONDS, stdin=subprocess.DEVNULL)
        if not core.exists():
            raise RuntimeError(f"gcore wrote nothing for {built.executable}:\n{output}")
    # gdb writes reserved memory as zeros, 64 MB an arena; the kernel leaves holes.
    subprocess.run(["fallocate", "--dig-holes", core], stderr=subprocess.DEVNULL)
    return {"written_by": "gcore"}


def wait_until_main_sleeps(pid):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        text = Path(f"/proc/{pid}/syscall").read_text()
        if not text.startswith(("running", "1 ")):  # 1: write, the "ready" itself
            return
        time.sleep(0.005)


WRITERS = {"kernel": write_kernel_core, "gcore": write_gcore}


def make_core(program, variant, kind, arguments=None):
    """kind: "kernel" or "gcore"; "any" takes the kernel's where it can be had."""
    if isinstance(program, str):
        program = PROGRAMS[program]
    if isinstance(variant, str):
        variant = next(row for row in program.variants if row.name == variant)
    if kind == "any":
        kind = "gcore" if kernel_writes_plain_cores() and not program.dies else "kernel"
    if kind == "gcore" and program.dies:
        raise Unavailable("a program that dies leaves nothing for gcore")
    built = build(program, variant, arguments)
    base = built.folder / f"{program.name}-{digest(built.arguments)}-{kind}"
    core, truth, sidecar = (Path(f"{base}.{suffix}") for suffix in ("core", "truth.json", "sidecar.json"))
    with locked(built.folder / "lock"):
        if not sidecar.exists() or not core.exists():
            core.unlink(missing_ok=True)
            started = time.monotonic()
            how = WRITERS[kind](built, core, truth)
            how.update(program=program.name, variant=variant.name, arguments=built.arguments,
                       executable=str(built.executable), seconds=round(time.monotonic() - started, 3))
            sidecar.write_text(json.dumps(how, indent=1))
    return Core(built, kind, core, json.loads(truth.read_text()), json.loads(sidecar.read_text()))


def kinds(program):
    return ("kernel",) if program.dies else ("kernel", "gcore")


def all_cases():
    """(program, variant, kind) of every core that the tests read."""
    return [(program, variant, kind) for program in PROGRAMS.values() for variant in program.variants for kind in kinds(program)]


def main():
    parser = argparse.ArgumentParser(description="build a test program and make a core of it")
    parser.add_argument("program", nargs="?", choices=sorted(PROGRAMS))
    parser.add_argument("--variant", help="default: the program's first")
    parser.add_argument("--kind", choices=("kernel", "gcore", "any"), default="any")
    parser.add_argument("--list", action="store_true", help="list programs and variants")
    parser.add_argument("arguments", nargs="*", help="the program's own arguments, after --")
    options = parser.parse_args()
    if options.list or not options.program:
        for program in PROGRAMS.values():
            print(program.name + ":", *(variant.name for variant in program.variants))
        return 0
    program = PROGRAMS[options.program]
    try:
        core = make_core(program, options.variant or program.variants[0], options.kind, options.arguments or None)
    except Unavailable as error:
        print(f"cores.py: {error}", file=sys.stderr)
        return 3
    print(json.dumps({"core": str(core.path), "executable": str(core.executable), **core.sidecar}, indent=1))
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())
