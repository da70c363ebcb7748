/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "format/stack_text.h"

#include <stdio.h>

static void assert_text(struct text text, const char *wanted)
{
    assert_int_equal(text.length, strlen(wanted));
    assert_memory_equal(text.data, wanted, text.length);
}

/* The last item of a text, which is the one under test. */
static struct stack_item last_item(const char *text)
{
    struct stack_text reader;
    struct stack_item item, last = {0};
    stack_text_init(&reader, text_from_string(text));
    for (stack_text_next(&reader, &item); item.kind != STACK_ITEM_END; stack_text_next(&reader, &item))
        last = item;
    return last;
}

static struct stack_item frame_of(const char *head, const char *line)
{
    char text[1024];
    assert_true((size_t)snprintf(text, sizeof text, "%s\n%s\n", head, line) < sizeof text);
    struct stack_item item = last_item(text);
    assert_int_equal(item.kind, STACK_ITEM_FRAME);
    return item;
}

static void heads(void **state)
{
    (void)state;
    struct stack_item item = last_item("Thread 3 (Thread 0x7f3b1bc6c0 (LWP 4711) \"worker\"):");
    assert_int_equal(item.kind, STACK_ITEM_THREAD);
    assert_int_equal(item.tool, STACK_TOOL_GDB);
    assert_int_equal(item.id, 4711);
    assert_int_equal(item.address, 0x7f3b1bc6c0);
    assert_text(item.name, "worker");
    assert_int_equal(last_item("Thread 1 (LWP 12):").id, 12);
    assert_int_equal(last_item("Thread 1 (process 13):").id, 13);
    item = last_item("TID 4711:");
    assert_int_equal(item.tool, STACK_TOOL_ELFUTILS);
    assert_int_equal(item.id, 4711);
    assert_int_equal(last_item("Nov 21 host x[1]:   Stack trace of thread 77:").id, 77);
    item = last_item("\"pool \"a\" 1\" #12 prio=5 os_prio=0 tid=0x00007f75 nid=0x52c7 runnable [0x00007f75]");
    assert_int_equal(item.tool, STACK_TOOL_JVM);
    assert_text(item.name, "pool \"a\" 1");
    assert_int_equal(item.id, 0x52c7);
    assert_int_equal(last_item("\"main\" #1 [4711] prio=5 tid=0x00007f75 nid=4711 runnable").id, 4711);
    item = last_item("Thread 4711 (active+gil): \"spin\"");
    assert_int_equal(item.tool, STACK_TOOL_PYSPY);
    assert_int_equal(item.id, 4711);
    assert_text(item.text, "active+gil");
    assert_text(item.name, "spin");
    assert_false(stack_text_begins(TEXT("Thread pool (4 workers):")));
    assert_false(stack_text_begins(TEXT("#0 is the first")));
    assert_false(stack_text_begins(TEXT("\"tid\" is the thread")));
    assert_true(stack_text_begins(TEXT("#0  0x00007ff9 in pause () from /lib/libc.so.6")));
}

static void frames_of_gdb(void **state)
{
    static const char head[] = "Thread 1 (LWP 12):";
    (void)state;
    struct stack_item item = frame_of(head, "#2  0x00007f5a in lock (mutex=mutex@entry=0x40 <a::b>, n=1) at ./nptl/l.c:48");
    assert_text(item.function, "lock");
    assert_text(item.file, "./nptl/l.c");
    assert_int_equal(item.line, 48);
    assert_int_equal(item.pc, 0x7f5a);
    uint64_t value;
    struct text symbol;
    assert_true(stack_argument_find(item.arguments, TEXT("mutex"), &value, &symbol));
    assert_int_equal(value, 0x40);
    assert_text(symbol, "a::b");
    assert_true(stack_argument_find(item.arguments, TEXT("n"), &value, &symbol) && value == 1);
    assert_false(stack_argument_find(item.arguments, TEXT("utex"), &value, &symbol));
    item = frame_of(head, "#3  0x00007f60 in ?? () from /lib/libz.so.1");
    assert_text(item.function, "");
    assert_text(item.module, "/lib/libz.so.1");
    assert_text(frame_of(head, "#0  futex_wait (w=0x1) at f.h:1").function, "futex_wait");
    assert_text(frame_of(head, "#6  operator() (__closure=<optimized out>) at x.cc:42").function, "operator()");
    assert_text(frame_of(head, "#6  std::function<void (int)>::operator() (this=0x1) at x.h:4").function,
                "std::function<void (int)>::operator()");
    assert_text(frame_of(head, "#6  0x1 in a::operator< (l=..., r=...) at x.h:4").function, "a::operator<");
    assert_text(frame_of(head, "#6  (anonymous namespace)::run(void) (s=0x1 \") at (\") at x.cc:7").function,
                "(anonymous namespace)::run(void)");
    assert_text(frame_of(head, "#4  <signal handler called>").function, "<signal handler called>");
}

static void frames_of_others(void **state)
{
    (void)state;
    struct stack_item item = frame_of("TID 5:", "#1  0x00007f5a - 1 std::mutex::lock() - /usr/bin/shop");
    assert_text(item.function, "std::mutex::lock()");
    assert_text(item.module, "/usr/bin/shop");
    assert_text(frame_of("TID 5:", "#0  0x00007f5a     a - b").function, "a");
    assert_text(frame_of("TID 5:", "#3  0x00007f5a").function, "");
    item = last_item("TID 5:\n#3  0x1 - 1 f\n    /a b/c.c:12:7\n");
    assert_int_equal(item.kind, STACK_ITEM_PLACE);
    assert_text(item.file, "/a b/c.c");
    assert_int_equal(item.line, 12);
    item = frame_of("Stack trace of thread 7:", "   #1  0x000055e7 n/a (shop + 0x4e33)");
    assert_text(item.function, "");
    assert_text(item.module, "shop");
    assert_int_equal(item.module_offset, 0x4e33);
    item = frame_of("Thread 7 (idle)", "    result (concurrent/futures/_base.py:451)");
    assert_text(item.function, "result");
    assert_int_equal(item.line, 451);
}

static void lines_of_the_jvm(void **state)
{
#define HEAD "\"a\" #1 prio=5 tid=0x1 nid=0x2 runnable\n"
    (void)state;
    struct stack_item item = frame_of(HEAD, "\tat shop.Orders.save(java.base@17.0.15/Orders.java:31)");
    assert_text(item.function, "shop.Orders.save");
    assert_text(item.file, "Orders.java");
    assert_int_equal(item.line, 31);
    assert_text(frame_of(HEAD, "\tat java.lang.Thread.sleep(Native Method)").file, "Native Method");
    item = last_item(HEAD "   java.lang.Thread.State: TIMED_WAITING (sleeping)\n");
    assert_int_equal(item.kind, STACK_ITEM_STATE);
    assert_text(item.text, "TIMED_WAITING (sleeping)");
    static const struct {
        const char *line;
        enum stack_lock lock;
    } rows[] = {
        {HEAD "\t- waiting to lock <0x00ffd02f40> (a java.lang.Object)", STACK_LOCK_WAITED_TO_ENTER},
        {HEAD "\t- waiting on <0x00ffd02f40> (a java.lang.Object)", STACK_LOCK_WAITED_ON},
        {HEAD "\t- parking to wait for  <0x00ffd02f40> (a java.lang.Object)", STACK_LOCK_PARKED},
        {HEAD "\t- locked <0x00ffd02f40> (a java.lang.Object)", STACK_LOCK_HELD},
        {HEAD "\t- <0x00ffd02f40> (a java.lang.Object)", STACK_LOCK_HELD},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        item = last_item(rows[i].line);
        assert_int_equal(item.kind, STACK_ITEM_LOCK);
        assert_int_equal(item.lock, rows[i].lock);
        assert_int_equal(item.address, 0xffd02f40);
        assert_text(item.name, "java.lang.Object");
    }
    /* What follows the threads repeats stacks: they are nobody's. */
    assert_int_equal(last_item(HEAD "\nFound one Java-level deadlock:\n\"a\":\n\tat x.Y.z(Y.java:1)\n").kind,
                     STACK_ITEM_THREAD);
}

static void threads_without_heads(void **state)
{
    struct stack_text reader;
    struct stack_item item;
    unsigned threads = 0, frames = 0;
    (void)state;
    stack_text_init(&reader, TEXT("#0  0x10 in pause () from /lib/libc.so.6\n#1  0x20 in main ()\n"
                                  "#0  0x10 in pause () from /lib/libc.so.6\n"));
    for (stack_text_next(&reader, &item); item.kind != STACK_ITEM_END; stack_text_next(&reader, &item)) {
        threads += item.kind == STACK_ITEM_THREAD;
        frames += item.kind == STACK_ITEM_FRAME;
    }
    assert_int_equal(threads, 2);
    assert_int_equal(frames, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads),            cmocka_unit_test(frames_of_gdb),
        cmocka_unit_test(frames_of_others), cmocka_unit_test(lines_of_the_jvm),
        cmocka_unit_test(threads_without_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
