# SPDX-License-Identifier: Apache-2.0
"""Runs inside gdb: prints every thread's frames as one line of JSON between two marks."""

import json

import gdb

FRAMES_MAX = 4096


def frames_of(thread):
    thread.switch()
    frame, found = gdb.newest_frame(), []
    reason = ""
    while frame is not None and len(found) < FRAMES_MAX:
        library = gdb.solib_name(frame.pc())
        found.append({
            "pc": frame.pc(),
            "function": frame.name() or "",
            # gdb also rebuilds functions that left by a jump (tail calls): no more a frame of the stack than inlined ones.
            "inlined": frame.type() in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME),
            "module": library or "",
        })
        reason = gdb.frame_stop_reason_string(frame.unwind_stop_reason())
        try:
            frame = frame.older()
        except gdb.error as error:
            reason = str(error)
            frame = None
    return {"frames": found, "end": reason}


threads = {}
for thread in gdb.selected_inferior().threads():
    threads[thread.ptid[1] or thread.ptid[0]] = frames_of(thread)
print("\n<<<stacks " + json.dumps(threads) + " stacks>>>")
