/* SPDX-License-Identifier: Apache-2.0 */
#include "format/thread_text.h"

/* Cuts the text before `part`. */
static bool text_cut(struct text *text, struct text part)
{
    size_t at = text_find(*text, part);
    if (at == SIZE_MAX)
        return false;
    text->length = at;
    return true;
}

static void skip_spaces(struct text *text)
{
    while (text->length != 0 && text->data[0] == ' ')
        *text = text_from(*text, 1);
}

bool thread_id_next(struct text *ids, uint64_t *ret_id)
{
    skip_spaces(ids);
    return text_take_decimal(ids, ret_id);
}

/* " … (+97)" at the end of a list of ids. */
static uint64_t take_more(struct text *ids)
{
    static const struct text mark = {" … (+", sizeof " … (+" - 1};
    uint64_t more = 0;
    size_t at = text_find(*ids, mark);
    if (at == SIZE_MAX)
        return 0;
    struct text number = text_from(*ids, at + mark.length);
    ids->length = at;
    return text_take_decimal(&number, &more) ? more : 0;
}

static struct thread_comment member_parse(struct text text)
{
    struct thread_comment result = {.kind = THREAD_COMMENT_OTHER};
    uint64_t namespace_id;
    if (!text_take_decimal(&text, &result.id))
        return result;
    struct text rest = text;
    if (text_take_prefix(&rest, TEXT(" (")) && text_take_decimal(&rest, &namespace_id) &&
        text_take_prefix(&rest, TEXT(" in its namespace)")))
        text = rest;
    size_t colon = text_find(text, TEXT(": "));
    if (colon == SIZE_MAX)
        return result;
    result.kind = THREAD_COMMENT_MEMBER;
    result.name = (struct text){text.data, colon};
    skip_spaces(&result.name);
    result.text = text_from(text, colon + 2);
    text_cut(&result.text, TEXT(", cpu "));
    text_cut(&result.text, TEXT(", moved"));
    text_cut(&result.text, TEXT(", never moved"));
    return result;
}

/* "frame pointer 0x4011a0 to 0x401250 (7 frames)", "code 0x4011a0" */
static struct thread_comment trust_parse(struct text text)
{
    struct thread_comment result = {.kind = THREAD_COMMENT_OTHER, .text = text, .count = 1};
    size_t at = text_find(text, TEXT(" 0x"));
    if (at == SIZE_MAX)
        return result;
    result.text.length = at;
    struct text rest = text_from(text, at + 1);
    uint64_t last;
    if (!text_take_hex(&rest, &result.address))
        return result;
    if (text_take_prefix(&rest, TEXT(" to ")) && !(text_take_hex(&rest, &last) && text_take_prefix(&rest, TEXT(" (")) &&
                                                   text_take_decimal(&rest, &result.count)))
        return result;
    result.kind = THREAD_COMMENT_TRUST;
    return result;
}

/* "3 to 11 minutes", "45 seconds"; "2 minutes (23 of 32)" tells nothing of any one member. Thousands have commas. */
static struct thread_comment waiting_parse(struct text text)
{
    struct thread_comment result = {.kind = THREAD_COMMENT_OTHER};
    bool in_minutes = text_find(text, TEXT(" minute")) != SIZE_MAX;
    uint64_t number = 0, part;
    if (!text_take_decimal(&text, &number) || text_ends_with(text, TEXT(")")))
        return result;
    while (text_take_prefix(&text, TEXT(",")) && text_take_decimal(&text, &part) && number < UINT64_MAX / 60000 - 1)
        number = number * 1000 + part;
    if (number > UINT64_MAX / 60)
        return result;
    result.count = in_minutes ? number * 60 : number;
    result.kind = THREAD_COMMENT_WAITING;
    return result;
}

/* "frames-hidden": no other brackets end a line of stackgroup's. */
static bool is_code(struct text text)
{
    enum { code_bytes_max = 64 };
    for (size_t i = 0; i < text.length; i++)
        if (!(text.data[i] >= 'a' && text.data[i] <= 'z') && !(text.data[i] >= '0' && text.data[i] <= '9') &&
            text.data[i] != '-')
            return false;
    return text.length != 0 && text.length <= code_bytes_max;
}

static struct thread_comment diagnostic_parse(enum thread_comment_kind kind, struct text text)
{
    struct thread_comment result = {.kind = kind, .text = text};
    const char *open = text.length == 0 ? NULL : memrchr(text.data, '[', text.length);
    if (open == NULL || open == text.data || open[-1] != ' ' || !text_ends_with(text, TEXT("]"))) {
        result.kind = THREAD_COMMENT_OTHER;
        return result;
    }
    size_t at = (size_t)(open - text.data);
    result.name = (struct text){open + 1, text.length - at - 2};
    result.text.length = at - 1;
    if (!is_code(result.name))
        result.kind = THREAD_COMMENT_OTHER;
    return result;
}

struct thread_comment thread_comment_parse(struct text comment)
{
    static const struct {
        struct text start;
        enum thread_comment_kind kind;
    } rows[] = {
        {{"signal: ", 8}, THREAD_COMMENT_SIGNAL},
        {{"process: ", 9}, THREAD_COMMENT_PROCESS},
        {{"threads: ", 9}, THREAD_COMMENT_TOTALS},
        {{"goroutines: ", 12}, THREAD_COMMENT_TOTALS},
        {{"addresses: the dump tells none", 30}, THREAD_COMMENT_NUMBERS},
        {{"lost: ", 6}, THREAD_COMMENT_LOST},
        {{"loss: ", 6}, THREAD_COMMENT_LOSS},
        {{"note: ", 6}, THREAD_COMMENT_NOTE},
        {{"signalled", 9}, THREAD_COMMENT_SIGNALLED},
        {{"state: ", 7}, THREAD_COMMENT_STATE},
        {{"members: ", 9}, THREAD_COMMENT_MEMBERS},
        {{"member ", 7}, THREAD_COMMENT_MEMBER},
        {{"waits: ", 7}, THREAD_COMMENT_WAITS},
        {{"waiting: ", 9}, THREAD_COMMENT_WAITING},
        {{"created by ", 11}, THREAD_COMMENT_CREATED},
        {{"end: ", 5}, THREAD_COMMENT_END},
        {{"trust: ", 7}, THREAD_COMMENT_TRUST},
    };
    struct thread_comment result = {.kind = THREAD_COMMENT_OTHER, .text = comment};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (text_take_prefix(&result.text, rows[i].start)) {
            result.kind = rows[i].kind;
            break;
        }
    switch (result.kind) {
    case THREAD_COMMENT_LOST:
    case THREAD_COMMENT_LOSS:
    case THREAD_COMMENT_NOTE:
        return diagnostic_parse(result.kind, result.text);
    case THREAD_COMMENT_SIGNALLED:
        if (text_take_prefix(&result.text, TEXT(": thread ")))
            text_take_decimal(&result.text, &result.id);
        break;
    case THREAD_COMMENT_MEMBERS:
        result.count = take_more(&result.text);
        break;
    case THREAD_COMMENT_MEMBER:
        return member_parse(result.text);
    case THREAD_COMMENT_TRUST:
        return trust_parse(result.text);
    case THREAD_COMMENT_END: {
        size_t at = text_find(result.text, TEXT(" at 0x"));
        struct text number = at == SIZE_MAX ? TEXT("") : text_from(result.text, at + 4);
        if (text_take_hex(&number, &result.address))
            result.text.length = at;
        break;
    }
    case THREAD_COMMENT_WAITING:
        return waiting_parse(result.text);
    case THREAD_COMMENT_TOTALS: {
        uint64_t read;
        if (!text_take_decimal(&result.text, &read) || !text_take_prefix(&result.text, TEXT(" of ")) ||
            !text_take_decimal(&result.text, &result.count))
            result.count = 0;
        break;
    }
    case THREAD_COMMENT_OTHER:
    case THREAD_COMMENT_SIGNAL:
    case THREAD_COMMENT_PROCESS:
    case THREAD_COMMENT_NUMBERS:
    case THREAD_COMMENT_STATE:
    case THREAD_COMMENT_WAITS:
    case THREAD_COMMENT_CREATED:
        break;
    }
    return result;
}

struct text thread_state_split(struct text state, int32_t *ret_fd)
{
    size_t at = text_find(state, TEXT(" fd "));
    uint64_t fd;
    *ret_fd = -1;
    if (at == SIZE_MAX)
        return state;
    struct text rest = text_from(state, at + 4);
    if (!text_take_decimal(&rest, &fd) || fd > INT32_MAX || rest.length != 0)
        return state;
    *ret_fd = (int32_t)fd;
    state.length = at;
    return state;
}

/* " (NAME)" with what it holds of parentheses itself. */
static bool take_parenthesised(struct text *text, struct text *ret_inner)
{
    if (!text_starts_with(*text, TEXT(" (")))
        return false;
    size_t depth = 1;
    for (size_t i = 2; i < text->length; i++) {
        depth += text->data[i] == '(';
        depth -= text->data[i] == ')';
        if (depth == 0) {
            *ret_inner = (struct text){text->data + 2, i - 2};
            *text = text_from(*text, i + 1);
            return true;
        }
    }
    return false;
}

static struct text take_ids(struct text *text)
{
    struct text start = *text, rest = *text;
    uint64_t id;
    while (thread_id_next(&rest, &id))
        *text = rest;
    return (struct text){start.data, start.length - text->length};
}

static bool holder_parse(struct text *text, struct thread_waits *waits)
{
    uint64_t number;
    if (text_take_prefix(text, TEXT("free"))) {
        waits->holder = THREAD_HOLDER_FREE;
    } else if (text_take_prefix(text, TEXT("holder unknown"))) {
        waits->holder = THREAD_HOLDER_UNKNOWN;
    } else if (!text_take_prefix(text, TEXT("held by "))) {
        return false;
    } else if (text_take_prefix(text, TEXT("thread ")) || text_take_prefix(text, TEXT("goroutine ")) ||
               text_take_prefix(text, TEXT("threads ")) || text_take_prefix(text, TEXT("goroutines "))) {
        waits->holders = take_ids(text);
        waits->holder = THREAD_HOLDER_MEMBERS;
        struct text first = waits->holders;
        if (text_take_prefix(text, TEXT(", which has ended")))
            waits->holder = thread_id_next(&first, &waits->holder_id) ? THREAD_HOLDER_ENDED : THREAD_HOLDER_UNKNOWN;
    } else if (text_take_decimal(text, &number)) {
        if (text_take_prefix(text, TEXT(" of another process"))) {
            waits->holder = THREAD_HOLDER_ELSEWHERE;
            waits->holder_id = number;
        } else if (text_take_prefix(text, TEXT(" readers, not known by whom")) ||
                   text_take_prefix(text, TEXT(" reader, not known by whom"))) {
            waits->holder = THREAD_HOLDER_READERS;
            waits->holder_count = number;
        }
    }
    return waits->holder != THREAD_HOLDER_NONE;
}

bool thread_waits_parse(struct text text, struct thread_waits *ret_waits)
{
    struct thread_waits waits = {0};
    if (!text_take_decimal(&text, &waits.count) || !text_take_prefix(&text, TEXT(" on ")))
        return false;
    size_t length = 0;
    while (length < text.length && strchr(" ,:", text.data[length]) == NULL)
        length++;
    waits.kind = (struct text){text.data, length};
    text = text_from(text, length);
    struct text rest = text;
    if (text_take_prefix(&rest, TEXT(" ")) && text_take_hex(&rest, &waits.address))
        text = rest;
    take_parenthesised(&text, &waits.name);
    waits.to_read = text_take_prefix(&text, TEXT(" to read"));
    waits.to_write = text_take_prefix(&text, TEXT(" to write"));
    if (text_take_prefix(&text, TEXT(", ")) && !holder_parse(&text, &waits))
        return false;
    take_parenthesised(&text, &waits.learnt);
    if (text_take_prefix(&text, TEXT(": "))) {
        waits.more = take_more(&text);
        waits.ids = take_ids(&text);
    }
    *ret_waits = waits;
    return text.length == 0 && length != 0;
}
