/* SPDX-License-Identifier: Apache-2.0 */
/* Stacks of threads as other tools print them, line by line:
 *
 *   gdb, pstack    Thread 3 (Thread 0x7f3b1bc6c0 (LWP 4711) "worker"):
 *                  #2  0x00007f5a in lll_lock (mutex=0x40 <orders>) at ./nptl/lock.c:48
 *                  #3  0x00007f60 in ?? () from /lib/libz.so.1
 *   eu-stack       TID 4711:
 *                  #1  0x00007f5a - 1 std::mutex::lock() - /usr/bin/shop
 *                      /usr/include/c++/12/bits/std_mutex.h:100:7
 *   systemd        Stack trace of thread 4711:
 *                  #0  0x00007f5a __futex_wait (libc.so.6 + 0x8912b)
 *   JVM, jstack    "worker" #12 prio=5 tid=0x7f40 nid=0x1267 waiting for monitor entry [0x7f12]
 *                     java.lang.Thread.State: BLOCKED (on object monitor)
 *                     at shop.Orders.save(Orders.java:31)
 *                     - waiting to lock <0xffd02f40> (a java.lang.Object)
 *   py-spy         Thread 4711 (idle): "MainThread"
 *                      wait (threading.py:320)
 *
 * The forms are those of gdb 13, elfutils 0.188, systemd 252's journal texts, OpenJDK 8 to 21 and py-spy 0.3. Texts are
 * runs of the input. */
#ifndef SG_FORMAT_STACK_TEXT_H
#define SG_FORMAT_STACK_TEXT_H

#include "format/goroutine_text.h"

enum stack_tool {
    STACK_TOOL_NONE,
    STACK_TOOL_GDB,
    STACK_TOOL_ELFUTILS,
    STACK_TOOL_SYSTEMD,
    STACK_TOOL_JVM,
    STACK_TOOL_PYSPY
};

enum stack_item_kind {
    STACK_ITEM_END,
    STACK_ITEM_PROCESS, /* `id`; `text`: its arguments, "" not told */
    STACK_ITEM_THREAD,  /* one begins: `tool`, `id`, `address`, `name`, `text`: its state */
    STACK_ITEM_STATE,   /* of the thread: `text` */
    STACK_ITEM_FRAME,   /* the next one outwards */
    STACK_ITEM_PLACE,   /* of the frame before: `file`, `line` */
    STACK_ITEM_LOCK,    /* of the JVM: `lock`, `address`, `name`: the object's class */
};

/* What a thread of the JVM has to do with an object. */
enum stack_lock {
    STACK_LOCK_WAITED_TO_ENTER, /* "waiting to lock" */
    STACK_LOCK_WAITED_ON,       /* "waiting on": Object.wait, which has given the object up */
    STACK_LOCK_PARKED,          /* "parking to wait for" */
    STACK_LOCK_HELD,            /* "locked", or among the "ownable synchronizers" */
};

struct stack_item {
    enum stack_item_kind kind;
    enum stack_tool tool; /* that printed the thread; STACK_TOOL_NONE: it has no head, only frames */
    size_t offset;        /* of its line */
    uint64_t id;          /* tid; 0: not told */
    uint64_t address;     /* of a thread: its pthread_t; of a lock: the object's; 0: not told */
    struct text name, text;
    enum stack_lock lock;
    /* Of a frame; all may be missing. */
    uint64_t pc; /* as printed: a return address but for the leaf; 0: not told */
    struct text function, file, module;
    struct text arguments; /* gdb's: "mutex=0x40 <orders>, n=3" */
    uint64_t line;
    uint64_t module_offset; /* of a frame without a name: where in the module; 0: not told */
};

struct stack_text {
    struct text_lines lines;
    struct text_junk junk;
    enum stack_tool tool; /* of the thread under way */
    uint64_t next_number; /* of its next frame where frames have numbers */
    bool in_thread;
};

/* Whether a line begins a dump of this kind. */
bool stack_text_begins(struct text line);

void stack_text_init(struct stack_text *reader, struct text text);
void stack_text_next(struct stack_text *reader, struct stack_item *ret_item);

/* The value of gdb's argument `name`, "0x40 <orders>" or "0x40", and the name in it; false: not there, or no address.
 */
bool stack_argument_find(struct text arguments, struct text name, uint64_t *ret_value, struct text *ret_symbol);

#endif
