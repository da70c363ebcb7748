# SPDX-License-Identifier: Apache-2.0
"""Goroutine dumps as text, taken apart independently of the program under test; and a Go program that prints itself."""

import re
import shutil
import subprocess

import cores
import oracles


def groups_of(text):
    """Of debug=1 text, sorted: each group's first line, labels and frames, as bytes stand there."""
    groups = []
    for line in text.replace("\r\n", "\n").splitlines():
        if re.match(r"\d+ @|\d+: \d+ \[", line):
            groups.append([line])
        elif groups and re.match(r"#\t|# labels: ", line):
            groups[-1].append(line)
    return sorted(groups)


def goroutine_waits(folder, **environment):
    """Runs tests/goroutine_waits.go in the folder: debug1.txt, debug2.txt, heap1.txt there, and quit.txt by SIGQUIT."""
    if not shutil.which("go"):
        raise cores.Unavailable("no go")
    program = folder / "goroutine_waits"
    source = oracles.ROOT / "tests" / "goroutine_waits.go"
    subprocess.run(["go", "build", "-trimpath", "-o", program, source], check=True, timeout=300,
                   env=oracles.environment(GOFLAGS="", GOCACHE=str(folder / "cache"), CGO_ENABLED="0"))
    with open(folder / "quit.txt", "w") as errors:
        done = subprocess.run([program, folder], stderr=errors, timeout=60, env=oracles.environment(**environment))
    assert done.returncode != 0, "SIGQUIT did not end it"
    return folder
