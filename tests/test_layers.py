# SPDX-License-Identifier: Apache-2.0
"""The include arrows of the architecture hold, and scripts/check-layers sees each way to break them."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).resolve().parent.parent / "scripts" / "check-layers"


def check(*arguments):
    return subprocess.run([sys.executable, CHECK, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=120)


def test_layers():
    done = check()
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("files,wanted", [
    ({"base/text.h": '#include "model/image.h"\n', "model/image.h": ""}, "base includes model/image.h"),
    ({"unwind/walk.c": '#include "symbol/symbolize.h"\n', "symbol/symbolize.h": ""}, "symbol is not below it"),
    ({"debuginfo/a.h": '#include "golang/b.h"\n', "golang/b.h": ""}, "golang is not below it"),
    ({"report/a.c": '#include "pipeline.h"\n', "pipeline.h": ""}, "pipeline is not below it"),
    ({"group/a.c": '#include "stackgroup.h"\n', "stackgroup.h": ""}, "group includes the public header"),
    ({"stackgroup.h": '#include "base/a.h"\n', "base/a.h": ""}, "the public header includes base/a.h"),
    ({"base/a.h": '#include "base/b.h"\n', "base/b.h": '#include "base/a.h"\n'}, "a circle"),
    ({"base/a.c": '#include "b.h"\n', "base/b.h": ""}, "is not found below analyzer/"),
    ({"base/a.c": '#include "base/b.c"\n', "base/b.c": ""}, "which is no header"),
    ({"elsewhere/a.c": ""}, "belongs to no layer"),
    ({"base/a.h": "size_t size_of(void);\n"}, "does not compile alone"),
    ({"base/a.h": "struct twice { int a; };\n"}, "does not compile alone"),
])
def test_violation_is_seen(files, wanted, tmp_path):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    done = check(tmp_path)
    assert done.returncode == 1
    assert wanted in done.stdout


def test_arrows_that_are_allowed(tmp_path):
    files = {"main.c": '#include "stackgroup.h"\n#include "cli_options.h"\n', "cli_options.h": "", "stackgroup.h": "",
             "pipeline.c": '#include "unwind/walk.h"\n#include "report/report.h"\n', "unwind/walk.h": '#include "model/image.h"\n',
             "report/report.h": '#include "base/text.h"\n', "model/image.h": '#include "arch/arch.h"\n', "arch/arch.h": "",
             "base/text.h": ""}
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    done = check(tmp_path)
    assert done.returncode == 0, done.stdout
