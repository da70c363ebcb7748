/* SPDX-License-Identifier: Apache-2.0 */
#include "format/stack_text.h"

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static struct text trim(struct text text)
{
    while (text.length != 0 && is_space(text.data[0]))
        text = text_from(text, 1);
    while (text.length != 0 && is_space(text.data[text.length - 1]))
        text.length--;
    return text;
}

/* Where `part` begins in the text last; SIZE_MAX when it does not. */
static size_t find_last(struct text text, struct text part)
{
    for (size_t at = text.length; at-- > 0;)
        if (text_starts_with(text_from(text, at), part))
            return at;
    return SIZE_MAX;
}

/* What stands before and after `part` where that comes first. */
static bool split_at(struct text text, struct text part, struct text *ret_before, struct text *ret_after)
{
    size_t at = text_find(text, part);
    if (at == SIZE_MAX)
        return false;
    *ret_before = (struct text){text.data, at};
    *ret_after = text_from(text, at + part.length);
    return true;
}

/* "0x1f", of any number of digits that fit, upper case too. */
static bool take_address(struct text *text, uint64_t *ret_value)
{
    struct text rest = *text;
    uint64_t value = 0;
    size_t digits = 0;
    if (!text_take_prefix(&rest, TEXT("0x")))
        return false;
    for (; digits < rest.length; digits++) {
        char c = rest.data[digits];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                                : 16;
        if (digit == 16)
            break;
        if (value >> 60 != 0)
            return false;
        value = value << 4 | digit;
    }
    *text = text_from(rest, digits);
    *ret_value = value;
    return digits != 0;
}

/* "file.c:12" or "file.c:12:7" */
static void take_place(struct text place, struct stack_item *item)
{
    size_t colon = find_last(place, TEXT(":"));
    uint64_t line, column;
    if (colon == SIZE_MAX) {
        item->file = place;
        return;
    }
    struct text number = text_from(place, colon + 1);
    struct text before = {place.data, colon};
    if (!text_take_decimal(&number, &line) || number.length != 0) {
        item->file = place;
        return;
    }
    size_t second = find_last(before, TEXT(":"));
    if (second != SIZE_MAX) {
        number = text_from(before, second + 1);
        if (text_take_decimal(&number, &column) && number.length == 0) {
            line = column;
            before.length = second;
        }
    }
    item->file = before;
    item->line = line;
}

/* The bytes of a name that come before gdb's arguments: " (" outside of any brackets. */
static size_t name_length(struct text text)
{
    size_t depth = 0;
    for (size_t i = 0; i < text.length; i++) {
        char c = text.data[i];
        if (depth == 0 && c == ' ' && i + 1 < text.length && text.data[i + 1] == '(')
            return i;
        if (text_starts_with(text_from(text, i), TEXT("operator"))) { /* its brackets are signs */
            i += sizeof "operator" - 2;
            while (i + 1 < text.length && strchr("<>=-()[]", text.data[i + 1]) != NULL && text.data[i + 1] != ' ')
                i++;
            continue;
        }
        depth += c == '<' || c == '(' || c == '{';
        if ((c == '>' || c == ')' || c == '}') && depth != 0)
            depth--;
    }
    return text.length;
}

/* "futex_wait (word=0x40, n=2) at ./futex.h:146", "?? () from /lib/libz.so.1", "main ()" */
static void take_gdb_call(struct text text, struct stack_item *item)
{
    size_t length = name_length(text);
    item->function = trim((struct text){text.data, length});
    struct text rest = text_from(text, length);
    size_t at = find_last(rest, TEXT(") at ")), from = find_last(rest, TEXT(") from "));
    if (from != SIZE_MAX && (at == SIZE_MAX || from > at)) {
        item->module = trim(text_from(rest, from + 7));
        rest.length = from;
    } else if (at != SIZE_MAX) {
        take_place(trim(text_from(rest, at + 5)), item);
        rest.length = at;
    } else if (text_ends_with(rest, TEXT(")"))) {
        rest.length--;
    }
    if (text_take_prefix(&rest, TEXT(" (")))
        item->arguments = rest;
    if (text_equals(item->function, TEXT("??")))
        item->function = TEXT("");
}

/* "- 1 std::mutex::lock() - /usr/bin/shop", "__clone3", "" */
static void take_elfutils_call(struct text text, struct stack_item *item)
{
    uint64_t one;
    struct text rest = trim(text);
    if (text_take_prefix(&rest, TEXT("- ")) && text_take_decimal(&rest, &one))
        text = rest;
    text = trim(text);
    size_t dash = find_last(text, TEXT(" - "));
    if (dash != SIZE_MAX) {
        item->module = trim(text_from(text, dash + 3));
        text.length = dash;
    } else if (text_starts_with(text, TEXT("- "))) {
        item->module = trim(text_from(text, 2));
        text.length = 0;
    }
    /* "name@@GLIBC_2.34" stays: names are normalised where they are compared. */
    item->function = trim(text);
}

/* "__futex_wait (libc.so.6 + 0x8912b)", "n/a (shop + 0x12)" */
static bool take_systemd_call(struct text text, struct stack_item *item)
{
    size_t open = find_last(text, TEXT(" ("));
    if (open == SIZE_MAX || !text_ends_with(text, TEXT(")")))
        return false;
    struct text inner = {text.data + open + 2, text.length - open - 3}, offset;
    if (!split_at(inner, TEXT(" + 0x"), &item->module, &offset))
        return false;
    item->function = trim((struct text){text.data, open});
    if (text_equals(item->function, TEXT("n/a"))) {
        offset = (struct text){offset.data - 2, offset.length + 2}; /* with its 0x */
        take_address(&offset, &item->module_offset);
        item->function = TEXT("");
    }
    if (text_equals(item->module, TEXT("n/a")))
        item->module = TEXT("");
    return true;
}

/* "#3  0x00007f60 in f (x=1) at f.c:3" and its like, without the space before it. */
static bool take_numbered_frame(struct stack_text *reader, struct text text, struct stack_item *item)
{
    uint64_t number;
    if (!text_take_prefix(&text, TEXT("#")) || !text_take_decimal(&text, &number) || text.length == 0 ||
        !is_space(text.data[0]))
        return false;
    text = trim(text);
    bool has_address = take_address(&text, &item->pc);
    text = trim(text);
    if (has_address && text_take_prefix(&text, TEXT("in "))) {
        take_gdb_call(text, item);
    } else if (!has_address && name_length(text) != text.length) {
        take_gdb_call(text, item);
    } else if (!has_address && text_starts_with(text, TEXT("<signal handler called>"))) {
        item->function = text;
    } else if (has_address && !(reader->tool != STACK_TOOL_ELFUTILS && take_systemd_call(text, item))) {
        take_elfutils_call(text, item);
    } else if (!has_address) {
        return false;
    }
    item->id = number;
    item->kind = STACK_ITEM_FRAME;
    return true;
}

/* "Thread 3 (Thread 0x7f3b (LWP 4711) "worker"):", "Thread 1 (LWP 7):", "Thread 1 (process 7):" */
static bool take_gdb_thread(struct text line, struct stack_item *item)
{
    uint64_t number;
    struct text before, rest = line;
    if (!text_take_prefix(&rest, TEXT("Thread ")) || !text_take_decimal(&rest, &number) ||
        !text_take_prefix(&rest, TEXT(" (")) || !text_ends_with(rest, TEXT(":")))
        return false;
    struct text head = rest, after;
    if (text_take_prefix(&head, TEXT("Thread ")))
        take_address(&head, &item->address);
    if (!split_at(rest, TEXT("LWP "), &before, &after) && !split_at(rest, TEXT("process "), &before, &after))
        return false;
    if (!text_take_decimal(&after, &item->id))
        return false;
    size_t open = text_find(after, TEXT("\"")), close = find_last(after, TEXT("\""));
    if (open != SIZE_MAX && close > open)
        item->name = (struct text){after.data + open + 1, close - open - 1};
    return true;
}

/* "nid=0x1267" or, from Java 19 on, "nid=4711" */
static uint64_t jvm_thread_id(struct text rest)
{
    struct text before, after;
    uint64_t id = 0;
    if (!split_at(rest, TEXT(" nid="), &before, &after))
        return 0;
    if (!take_address(&after, &id))
        text_take_decimal(&after, &id);
    return id;
}

/* Names of threads may have quotation marks: the last one before what every header has. */
static bool take_jvm_thread(struct text line, struct stack_item *item)
{
    if (!text_starts_with(line, TEXT("\"")))
        return false;
    size_t tid = text_find(line, TEXT(" tid=0x"));
    if (tid == SIZE_MAX)
        return false;
    size_t close = find_last((struct text){line.data, tid}, TEXT("\""));
    if (close == SIZE_MAX || close == 0)
        return false;
    item->name = (struct text){line.data + 1, close - 1};
    item->id = jvm_thread_id(text_from(line, close + 1));
    return true;
}

/* "Thread 4711 (idle): "MainThread"", "Thread 0x7F3B (active+gil)" */
static bool take_pyspy_thread(struct text line, struct stack_item *item)
{
    static const struct text states[] = {{"idle", 4}, {"active", 6}};
    if (!text_take_prefix(&line, TEXT("Thread ")))
        return false;
    if (!take_address(&line, &item->address) && !text_take_decimal(&line, &item->id))
        return false;
    if (!text_take_prefix(&line, TEXT(" (")))
        return false;
    size_t close = text_find(line, TEXT(")"));
    bool is_state = false;
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
        is_state |= text_starts_with(line, states[i]);
    if (!is_state || close == SIZE_MAX)
        return false;
    item->text = (struct text){line.data, close};
    line = text_from(line, close + 1);
    if (text_take_prefix(&line, TEXT(": \"")) && text_ends_with(line, TEXT("\"")))
        item->name = (struct text){line.data, line.length - 1};
    return true;
}

static bool take_elfutils_thread(struct text line, struct stack_item *item)
{
    return text_take_prefix(&line, TEXT("TID ")) && text_take_decimal(&line, &item->id) && text_equals(line, TEXT(":"));
}

/* Logs may stand before it. */
static bool take_systemd_thread(struct text line, struct stack_item *item)
{
    struct text before, after;
    return split_at(line, TEXT("Stack trace of thread "), &before, &after) && text_take_decimal(&after, &item->id) &&
           text_equals(after, TEXT(":"));
}

static enum stack_tool take_thread(struct text line, struct stack_item *item)
{
    static const struct {
        enum stack_tool tool;
        bool (*take)(struct text line, struct stack_item *item);
    } rows[] = {
        {STACK_TOOL_GDB, take_gdb_thread},         {STACK_TOOL_ELFUTILS, take_elfutils_thread},
        {STACK_TOOL_SYSTEMD, take_systemd_thread}, {STACK_TOOL_JVM, take_jvm_thread},
        {STACK_TOOL_PYSPY, take_pyspy_thread},
    };
    line = trim(line);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stack_item found = {.kind = STACK_ITEM_THREAD, .offset = item->offset};
        if (rows[i].take(line, &found)) {
            *item = found;
            return rows[i].tool;
        }
    }
    return STACK_TOOL_NONE;
}

/* "at shop.Orders.save(app@1.2/Orders.java:31)", "at java.lang.Thread.sleep(Native Method)" */
static bool take_jvm_frame(struct text line, struct stack_item *item)
{
    if (!text_take_prefix(&line, TEXT("at ")) || !text_ends_with(line, TEXT(")")))
        return false;
    size_t open = find_last(line, TEXT("("));
    if (open == SIZE_MAX)
        return false;
    struct text place = {line.data + open + 1, line.length - open - 2};
    size_t slash = find_last(place, TEXT("/")); /* the module: it changes with each release */
    if (slash != SIZE_MAX)
        place = text_from(place, slash + 1);
    item->kind = STACK_ITEM_FRAME;
    item->function = trim((struct text){line.data, open});
    take_place(place, item);
    return true;
}

/* "- waiting to lock <0xffd02f40> (a java.lang.Object)"; "- <0xffd02f40> (a …)" of an ownable synchronizer. */
static bool take_jvm_lock(struct text line, struct stack_item *item)
{
    static const struct {
        struct text words;
        enum stack_lock lock;
    } rows[] = {
        {{"waiting to lock ", 16}, STACK_LOCK_WAITED_TO_ENTER},
        {{"waiting to re-lock in wait() ", 29}, STACK_LOCK_WAITED_TO_ENTER},
        {{"waiting on ", 11}, STACK_LOCK_WAITED_ON},
        {{"parking to wait for ", 20}, STACK_LOCK_PARKED},
        {{"locked ", 7}, STACK_LOCK_HELD},
        {{"", 0}, STACK_LOCK_HELD},
    };
    if (!text_take_prefix(&line, TEXT("- ")))
        return false;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct text rest = line;
        if (!text_take_prefix(&rest, rows[i].words))
            continue;
        rest = trim(rest);
        if (!text_take_prefix(&rest, TEXT("<")) || !take_address(&rest, &item->address) ||
            !text_take_prefix(&rest, TEXT(">")))
            continue;
        rest = trim(rest);
        if (text_take_prefix(&rest, TEXT("(a ")) && text_ends_with(rest, TEXT(")")))
            item->name = (struct text){rest.data, rest.length - 1};
        item->lock = rows[i].lock;
        item->kind = STACK_ITEM_LOCK;
        return true;
    }
    return false;
}

/* "wait (threading.py:320)" */
static bool take_pyspy_frame(struct text line, struct stack_item *item)
{
    size_t open = find_last(line, TEXT(" ("));
    if (open == SIZE_MAX || !text_ends_with(line, TEXT(")")))
        return false;
    take_place((struct text){line.data + open + 2, line.length - open - 3}, item);
    item->function = trim((struct text){line.data, open});
    item->kind = STACK_ITEM_FRAME;
    return item->function.length != 0;
}

/* "PID 4711 - process" of eu-stack, "Process 4711: python3 shop.py" of py-spy */
static bool take_process(struct text line, struct stack_item *item)
{
    if (text_take_prefix(&line, TEXT("PID ")) && text_take_decimal(&line, &item->id) &&
        text_take_prefix(&line, TEXT(" - "))) {
        item->kind = STACK_ITEM_PROCESS;
        return true;
    }
    if (text_take_prefix(&line, TEXT("Process ")) && text_take_decimal(&line, &item->id) &&
        text_take_prefix(&line, TEXT(": "))) {
        item->text = line;
        item->kind = STACK_ITEM_PROCESS;
        return true;
    }
    return false;
}

static bool take_in_thread(struct stack_text *reader, struct text line, struct stack_item *item)
{
    struct text text = trim(line);
    bool is_indented = text.length != 0 && text.data != line.data;
    switch (reader->tool) {
    case STACK_TOOL_JVM:
        if (text_take_prefix(&text, TEXT("java.lang.Thread.State: "))) {
            item->text = text;
            item->kind = STACK_ITEM_STATE;
            return true;
        }
        return is_indented && (take_jvm_frame(text, item) || take_jvm_lock(text, item));
    case STACK_TOOL_PYSPY:
        return is_indented && take_pyspy_frame(text, item);
    case STACK_TOOL_ELFUTILS:
        if (is_indented && text.data[0] != '#') {
            take_place(text, item);
            item->kind = STACK_ITEM_PLACE;
            return item->line != 0;
        }
        return take_numbered_frame(reader, text, item);
    case STACK_TOOL_NONE:
    case STACK_TOOL_GDB:
    case STACK_TOOL_SYSTEMD:
        break;
    }
    return take_numbered_frame(reader, text, item);
}

/* A single thread's frames stand without a head in pstack's output and in what is pasted of a debugger. */
static bool begins_headless(struct text line)
{
    uint64_t address;
    if (!text_take_prefix(&line, TEXT("#0")) || line.length == 0 || line.data[0] != ' ')
        return false;
    line = trim(line);
    return take_address(&line, &address);
}

bool stack_text_begins(struct text line)
{
    struct stack_item item = {0};
    return take_thread(line, &item) != STACK_TOOL_NONE || begins_headless(line);
}

void stack_text_init(struct stack_text *reader, struct text text)
{
    *reader = (struct stack_text){.lines = {text.data, text.length, 0}};
}

void stack_text_next(struct stack_text *reader, struct stack_item *ret_item)
{
    struct text line;
    for (size_t offset = reader->lines.position; text_lines_next(&reader->lines, &line);
         offset = reader->lines.position) {
        struct stack_item item = {.offset = offset};
        enum stack_tool tool = take_thread(line, &item);
        if (tool != STACK_TOOL_NONE) {
            reader->tool = tool;
            reader->in_thread = true;
            reader->next_number = 0;
            item.tool = tool;
            *ret_item = item;
            return;
        }
        /* Another thread without a head: its frames count anew. The line is read again. */
        if (begins_headless(line) && (!reader->in_thread || reader->next_number != 0)) {
            reader->lines.position = offset;
            reader->tool = STACK_TOOL_NONE;
            reader->in_thread = true;
            reader->next_number = 0;
            *ret_item = (struct stack_item){.kind = STACK_ITEM_THREAD, .offset = offset};
            return;
        }
        item = (struct stack_item){.offset = offset};
        if (reader->in_thread && take_in_thread(reader, line, &item)) {
            reader->next_number += item.kind == STACK_ITEM_FRAME;
            *ret_item = item;
            return;
        }
        item = (struct stack_item){.offset = offset};
        if (take_process(line, &item)) {
            *ret_item = item;
            return;
        }
        /* The JVM repeats stacks of those that it finds deadlocked, under other heads. */
        if ((reader->tool == STACK_TOOL_JVM || reader->tool == STACK_TOOL_PYSPY) && line.length != 0 &&
            !is_space(line.data[0]))
            reader->in_thread = false;
        if (line.length != 0 && reader->junk.lines++ == 0)
            reader->junk.first_offset = offset;
    }
    *ret_item = (struct stack_item){.kind = STACK_ITEM_END};
}

bool stack_argument_find(struct text arguments, struct text name, uint64_t *ret_value, struct text *ret_symbol)
{
    for (size_t at; (at = text_find(arguments, name)) != SIZE_MAX; arguments = text_from(arguments, at + 1)) {
        struct text rest = text_from(arguments, at + name.length);
        if ((at != 0 && arguments.data[at - 1] != ' ') || !text_take_prefix(&rest, TEXT("=")))
            continue;
        if (text_take_prefix(&rest, name)) /* "mutex=mutex@entry=0x40": the value at the function's entry */
            text_take_prefix(&rest, TEXT("@entry="));
        *ret_symbol = TEXT("");
        if (!take_address(&rest, ret_value) && !text_take_decimal(&rest, ret_value))
            return false;
        size_t close = text_find(rest, TEXT(">"));
        if (text_take_prefix(&rest, TEXT(" <")) && close != SIZE_MAX)
            *ret_symbol = (struct text){rest.data, close - 2};
        return true;
    }
    return false;
}
