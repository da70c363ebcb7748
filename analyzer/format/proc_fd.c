/* SPDX-License-Identifier: Apache-2.0 */
#include "format/proc_fd.h"

static const char *const kind_names[DESCRIPTOR_KIND_COUNT] = {
    [DESCRIPTOR_UNKNOWN] = "unknown",   [DESCRIPTOR_SOCKET] = "socket",     [DESCRIPTOR_PIPE] = "pipe",
    [DESCRIPTOR_FILE] = "file",         [DESCRIPTOR_EPOLL] = "epoll",       [DESCRIPTOR_EVENTFD] = "eventfd",
    [DESCRIPTOR_TIMERFD] = "timerfd",   [DESCRIPTOR_SIGNALFD] = "signalfd", [DESCRIPTOR_INOTIFY] = "inotify",
    [DESCRIPTOR_OTHER] = "other"};

const char *descriptor_kind_name(enum descriptor_kind kind)
{
    return kind_names[kind];
}

static bool take_digits(struct text *text, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t at = 0;
    for (; at < text->length && text->data[at] >= '0' && text->data[at] <= '9'; at++) {
        unsigned digit = (unsigned)(text->data[at] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (at == 0)
        return false;
    text->data += at;
    text->length -= at;
    *ret_value = value;
    return true;
}

/* "socket:[123]" after its start was seen. */
static bool inode_parse(struct text link, struct text start, uint64_t *ret_inode)
{
    if (!text_starts_with(link, start))
        return false;
    struct text rest = {link.data + start.length, link.length - start.length};
    uint64_t inode;
    if (!take_digits(&rest, &inode) || !text_equals(rest, TEXT("]")))
        return false;
    *ret_inode = inode;
    return true;
}

struct fd_link fd_link_parse(struct text link)
{
    /* Some come with brackets and some without. */
    static const struct {
        const char *name;
        enum descriptor_kind kind;
    } anonymous[] = {
        {"[eventpoll]", DESCRIPTOR_EPOLL},    {"[eventfd]", DESCRIPTOR_EVENTFD}, {"[timerfd]", DESCRIPTOR_TIMERFD},
        {"[signalfd]", DESCRIPTOR_SIGNALFD}, {"inotify", DESCRIPTOR_INOTIFY},
    };
    struct text start = TEXT("anon_inode:");
    struct fd_link parsed = {.kind = DESCRIPTOR_OTHER, .name = link};
    if (inode_parse(link, TEXT("socket:["), &parsed.inode)) {
        parsed.kind = DESCRIPTOR_SOCKET;
    } else if (inode_parse(link, TEXT("pipe:["), &parsed.inode)) {
        parsed.kind = DESCRIPTOR_PIPE;
    } else if (link.length != 0 && link.data[0] == '/') {
        parsed.kind = DESCRIPTOR_FILE;
    } else if (text_starts_with(link, start)) {
        parsed.name = (struct text){link.data + start.length, link.length - start.length};
        for (size_t i = 0; i < sizeof anonymous / sizeof anonymous[0]; i++)
            if (text_equals(parsed.name, text_from_string(anonymous[i].name)))
                parsed.kind = anonymous[i].kind;
    }
    if (parsed.kind != DESCRIPTOR_FILE && parsed.kind != DESCRIPTOR_OTHER)
        parsed.name = (struct text){"", 0};
    return parsed;
}

bool fdinfo_line_is_watch(struct text line)
{
    return text_starts_with(line, TEXT("tfd:"));
}

static struct text without_blanks(struct text text)
{
    while (text.length != 0 && text.data[0] == ' ') {
        text.data++;
        text.length--;
    }
    return text;
}

bool proc_limits_open_files(struct text limits, uint64_t *ret_soft, uint64_t *ret_hard)
{
    struct text name = TEXT("Max open files ");
    while (limits.length != 0) {
        if (text_starts_with(limits, name)) {
            struct text rest = without_blanks((struct text){limits.data + name.length, limits.length - name.length});
            if (!take_digits(&rest, ret_soft))
                return false;
            rest = without_blanks(rest);
            if (!take_digits(&rest, ret_hard))
                *ret_hard = 0;
            return true;
        }
        const char *newline = memchr(limits.data, '\n', limits.length);
        if (newline == NULL)
            return false;
        size_t taken = (size_t)(newline - limits.data) + 1;
        limits.data += taken;
        limits.length -= taken;
    }
    return false;
}
