# SPDX-License-Identifier: Apache-2.0
"""Frames that break a walker's habits: a coroutine's bottom, a thread in vfork. Each program dies by abort() in
main, with one thread in the odd place; that thread's stack is compared."""

import os
import resource
import shutil
import subprocess

import pytest

import cores
import oracles

COMMON = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#define KEEP __asm__ volatile("" ::: "memory")
#define OWN __attribute__((noinline))
static void *thread_start(void *argument);
int main(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, thread_start, NULL);
    usleep(200000);
    abort();
}
"""

COROUTINE = COMMON + r"""
static char stack[65536];
OWN void parked(void) { for (;;) pause(); }
static void body(void) { parked(); KEEP; }
OWN void create(void)
{
    static ucontext_t coroutine, creator;
    getcontext(&coroutine);
    coroutine.uc_stack.ss_sp = stack;
    coroutine.uc_stack.ss_size = sizeof stack;
    coroutine.uc_link = &creator;
    makecontext(&coroutine, body, 0);
    swapcontext(&creator, &coroutine);
    KEEP;
}
static void *thread_start(void *argument) { create(); KEEP; return argument; }
"""

# The child writes nothing above its parent's frame and leaves when its parent does.
VFORK = COMMON + r"""
OWN void begin(void)
{
    if (vfork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) syscall(SYS_pause);
    }
    KEEP;
}
static void *thread_start(void *argument) { begin(); KEEP; return argument; }
"""


def own_frames(folder, source, *flags):
    reason = cores.kernel_writes_plain_cores()
    if reason:
        pytest.skip(reason)
    if not shutil.which("gcc"):
        pytest.skip("no gcc")
    (folder / "odd.c").write_text(source)
    subprocess.run(["gcc", "-g", *flags, "odd.c", "-o", "odd", "-pthread"], cwd=folder, check=True, timeout=60)
    subprocess.run([folder / "odd"], cwd=folder, timeout=60, stdin=subprocess.DEVNULL, preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)))
    core = next(folder.glob("core*"), None)
    if core is None:
        pytest.skip("the kernel wrote no core (RLIMIT_CORE?)")
    groups = oracles.stackgroup_json(core)["profiles"][0]["groups"]
    (group,) = (group for group in groups if not group.get("signalled"))
    return group, [frame for frame in group["frames"] if os.path.basename(frame.get("module", "")) == "odd"]


@pytest.mark.parametrize("flags", [("-O2",), ("-O0",), ("-O2", "-fno-omit-frame-pointer"), ("-O1", "-static")], ids=" ".join)
def test_coroutine_ends_at_its_start(tmp_path, stackgroup, flags):
    group, _ = own_frames(tmp_path, COROUTINE, *flags)
    names = [frame.get("function") for frame in group["frames"]]
    assert names[names.index("parked"):names.index("parked") + 2] == ["parked", "body"]
    assert len(names) == names.index("body") + 2, "one frame is left: where makecontext lets the coroutine return to"
    assert group["end"]["reason"] == "outermost"


@pytest.mark.parametrize("flags", [("-O2",), ("-O0",)], ids=" ".join)
def test_vfork_has_its_callers(tmp_path, stackgroup, flags):
    group, own = own_frames(tmp_path, VFORK, *flags)
    assert [frame["function"] for frame in own] == ["begin", "thread_start"]
    assert group["state"] == "returning from vfork" and group["end"]["reason"] == "outermost"
