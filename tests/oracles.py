# SPDX-License-Identifier: Apache-2.0
"""The stacks of a core as eu-stack, gdb and stackgroup see them, and pprof as a reader of what stackgroup writes."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from cores import ROOT, Unavailable
from stacks import Frame, Stacks

SECONDS = 120
QUIET = {"DEBUGINFOD_URLS": "", "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}


def environment(**more):
    return {**os.environ, **QUIET, **more}


def tool(name):
    path = shutil.which(name)
    if not path:
        raise Unavailable(f"no {name}")
    return path


def run(command, seconds=SECONDS, **options):
    return subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, errors="replace", timeout=seconds, env=environment(), **options)


# eu-stack


def eu_stack(core, executable):
    return eu_stack_of(f"--core={core}", "-e", executable)


def eu_stack_live(pid):
    return eu_stack_of("-p", pid)


def eu_stack_of(*target):
    """Depth 0 means all frames (the default ends at 256). Raw names, because eu-stack knows neither of Rust's manglings."""
    # eu-stack exits with 1 when any stack ended early: what it printed still counts.
    done = run([tool("eu-stack"), "-n", "0", "-r", "-m", *target])
    stacks = eu_stack_parse(done.stdout, done.stderr)
    demangle([frame for frames in stacks.threads.values() for frame in frames])
    return stacks


def eu_stack_parse(output, errors=""):
    threads, frames = {}, None
    for line in output.splitlines():
        if match := re.match(r"TID (\d+):", line):
            frames = threads.setdefault(int(match.group(1)), [])
        elif (match := re.match(r"#\d+\s+0x([0-9a-f]+)( .*?)??(?: - (.*))?$", line)) and frames is not None:
            frames.append(Frame(int(match.group(1), 16), (match.group(2) or "").strip(), match.group(3) or ""))
    return Stacks(threads, errors.splitlines())


def demangle(frames):
    names = sorted({frame.function for frame in frames if frame.function.startswith(("_Z", "_R"))})
    done = subprocess.run([tool("c++filt")], input="".join(name + "\n" for name in names), stdout=subprocess.PIPE, text=True,
                          timeout=SECONDS, check=True)
    plain = dict(zip(names, done.stdout.splitlines()))
    for frame in frames:
        frame.function = plain.get(frame.function, frame.function)


# gdb


def gdb(core, executable):
    return gdb_of(executable, "-c", core)


def gdb_live(pid):
    return gdb_of("-p", pid)


def gdb_of(*target):
    done = run([tool("gdb"), "-nx", "-batch", "-iex", "set debuginfod enabled off", "-iex", "set auto-load off",
                "-ex", "set backtrace past-main on", "-ex", "set backtrace past-entry on", "-ex", "set backtrace limit unlimited",
                "-x", Path(__file__).with_name("gdb_stacks.py"), *target])
    match = re.search(r"<<<stacks (.*) stacks>>>", done.stdout)
    if not match:
        raise RuntimeError(f"gdb gave no stacks for {target}: {done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    threads = {}
    for tid, row in json.loads(match.group(1)).items():
        frames = [Frame(frame["pc"], frame["function"], frame["module"], frame["inlined"]) for frame in row["frames"]]
        threads[int(tid)] = frames
    return Stacks(threads, done.stderr.splitlines())


# stackgroup


def stackgroup_path():
    return Path(os.environ.get("STACKGROUP") or ROOT / "build" / "analyzer" / "stackgroup")


def stackgroup_run(*arguments, seconds=SECONDS, **options):
    path = stackgroup_path()
    if not path.exists():
        raise Unavailable(f"no {path}")
    return run([path, *arguments], seconds, **options)


def stackgroup_json(core, *arguments):
    done = stackgroup_run("--format=json", *arguments, core)
    if done.returncode not in (0, 4):
        raise RuntimeError(f"stackgroup {core}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def json_frame(row):
    return Frame(int(row.get("pc", "0"), 16), row.get("function", ""), row.get("module", ""), bool(row.get("inlined")))


def json_stacks(document):
    """Groups expanded to threads. What a thread's group says holds for each of its members."""
    threads = {}
    for profile in document.get("profiles", []):
        if profile.get("kind") != "thread":
            continue
        for group in profile.get("groups", []):
            frames = [json_frame(row) for row in group.get("frames", [])]
            for member in group.get("members", []):
                if int(member) in threads:
                    raise AssertionError(f"thread {member} is in two groups")
                threads[int(member)] = frames
    return Stacks(threads, [f"{row.get('code')}: {row.get('message')}" for row in document.get("diagnostics", [])])


def stackgroup(core, *arguments):
    return json_stacks(stackgroup_json(core, "--by=pc", "--members", *arguments))


# pprof


def pprof_raw(path):
    """What `go tool pprof -raw` says of a file; raises when pprof does not take it."""
    done = run([tool("go"), "tool", "pprof", "-symbolize=none", "-raw", path])
    if done.returncode:
        raise RuntimeError(f"pprof refuses {path}: {done.stderr[-2000:]}")
    return done.stdout


def pprof_total(raw):
    """The sum of the first value of all samples."""
    samples = raw.partition("Samples:\n")[2].partition("Locations\n")[0]
    return sum(int(match.group(1)) for match in re.finditer(r"^\s+(\d+)(?: +\d+)*:", samples, re.MULTILINE))
