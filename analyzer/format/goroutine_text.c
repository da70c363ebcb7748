/* SPDX-License-Identifier: Apache-2.0 */
#include "format/goroutine_text.h"

bool text_lines_next(struct text_lines *lines, struct text *ret_line)
{
    if (lines->position >= lines->length)
        return false;
    const char *start = lines->bytes + lines->position;
    size_t left = lines->length - lines->position;
    const char *end = memchr(start, '\n', left);
    size_t length = end == NULL ? left : (size_t)(end - start);
    lines->position += length + (end != NULL);
    if (length != 0 && start[length - 1] == '\r')
        length--;
    *ret_line = (struct text){start, length};
    return true;
}

/* What the next call would give, without moving on. */
static bool text_lines_peek(const struct text_lines *lines, struct text *ret_line, size_t *ret_next)
{
    struct text_lines copy = *lines;
    bool found = text_lines_next(&copy, ret_line);
    *ret_next = copy.position;
    return found;
}

static void junk_add(struct text_junk *junk, size_t offset)
{
    if (junk->lines++ == 0)
        junk->first_offset = offset;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool text_take_prefix(struct text *text, struct text prefix)
{
    if (!text_starts_with(*text, prefix))
        return false;
    *text = text_from(*text, prefix.length);
    return true;
}

bool text_take_decimal(struct text *text, uint64_t *ret_value)
{
    uint64_t value = 0;
    size_t i = 0;
    for (; i < text->length && is_digit(text->data[i]); i++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text->data[i] - '0'), &value))
            return false;
    if (i == 0)
        return false;
    *text = text_from(*text, i);
    *ret_value = value;
    return true;
}

bool text_take_hex(struct text *text, uint64_t *ret_value)
{
    if (text->length < 3 || text->data[0] != '0' || text->data[1] != 'x')
        return false;
    uint64_t value = 0;
    size_t i = 2;
    for (int digit; i < text->length && (digit = hex_digit(text->data[i])) >= 0; i++) {
        if (value >> 60 != 0)
            return false;
        value = value << 4 | (uint64_t)digit;
    }
    if (i == 2)
        return false;
    *text = text_from(*text, i);
    *ret_value = value;
    return true;
}

/* Moves past a run of tabs, as tabwriter pads columns with; false when there is none. */
static bool take_tabs(struct text *text)
{
    size_t i = 0;
    while (i < text->length && text->data[i] == '\t')
        i++;
    *text = text_from(*text, i);
    return i != 0;
}

static struct text trim_right(struct text text)
{
    while (text.length != 0 && (text.data[text.length - 1] == ' ' || text.data[text.length - 1] == '\t'))
        text.length--;
    return text;
}

/* Splits "/src/m.go:12" at its last colon, where a number follows: paths hold colons and spaces too. */
static bool split_line_number(struct text *place, uint32_t *ret_line)
{
    const char *colon = place->length == 0 ? NULL : memrchr(place->data, ':', place->length);
    if (colon == NULL)
        return false;
    struct text number = text_from(*place, (size_t)(colon - place->data) + 1);
    uint64_t line;
    if (!text_take_decimal(&number, &line) || number.length != 0 || line > UINT32_MAX)
        return false;
    place->length = (size_t)(colon - place->data);
    *ret_line = (uint32_t)line;
    return true;
}

bool profile_frame_parse(struct text line, struct profile_frame *ret_frame)
{
    struct profile_frame frame = {0};
    if (!text_take_prefix(&line, TEXT("#\t")) || !text_take_hex(&line, &frame.address))
        return false;
    if (take_tabs(&line)) {
        const char *tab = line.length == 0 ? NULL : memchr(line.data, '\t', line.length);
        frame.function = (struct text){line.data, tab == NULL ? line.length : (size_t)(tab - line.data)};
        line = text_from(line, frame.function.length);
        const char *plus = frame.function.length == 0 ? NULL : memrchr(frame.function.data, '+', frame.function.length);
        if (plus != NULL) {
            size_t length = (size_t)(plus - frame.function.data);
            struct text offset = text_from(frame.function, length + 1);
            if (text_take_hex(&offset, &frame.offset) && offset.length == 0) {
                frame.function.length = length;
                frame.has_offset = true;
            }
        }
        take_tabs(&line);
        frame.place = trim_right(line);
        frame.has_line = split_line_number(&frame.place, &frame.line);
    } else if (trim_right(line).length != 0) {
        return false;
    }
    *ret_frame = frame;
    return true;
}

bool profile_address_next(struct text *addresses, uint64_t *ret_address)
{
    struct text rest = *addresses;
    while (rest.length != 0 && rest.data[0] == ' ')
        rest = text_from(rest, 1);
    if (!text_take_hex(&rest, ret_address) || (rest.length != 0 && rest.data[0] != ' '))
        return false;
    *addresses = rest;
    return true;
}

bool profile_header_parse(struct text line, struct text *ret_word, uint64_t *ret_total)
{
    static const struct text middle = {" profile: total ", sizeof " profile: total " - 1};
    const char *found = line.length == 0 ? NULL : memmem(line.data, line.length, middle.data, middle.length);
    if (found == NULL || found == line.data)
        return false;
    struct text word = {line.data, (size_t)(found - line.data)};
    if (memchr(word.data, ' ', word.length) != NULL || memchr(word.data, '\t', word.length) != NULL)
        return false;
    struct text rest = text_from(line, word.length + middle.length);
    if (!text_take_decimal(&rest, ret_total) || trim_right(rest).length != 0)
        return false;
    *ret_word = word;
    return true;
}

static bool profile_group_parse(struct text line, uint64_t *ret_count, struct text *ret_addresses)
{
    if (line.length == 0 || !is_digit(line.data[0]) || !text_take_decimal(&line, ret_count) ||
        !text_take_prefix(&line, TEXT(" @ ")))
        return false;
    struct text rest = *ret_addresses = trim_right(line);
    uint64_t address;
    while (profile_address_next(&rest, &address))
        continue;
    return rest.length == 0 && ret_addresses->length != 0;
}

/* The bytes EF BB BF that some editors and shells put before a text. */
static size_t byte_order_mark(struct text text)
{
    return text_starts_with(text, TEXT("\xef\xbb\xbf")) ? 3 : 0;
}

void profile_text_init(struct profile_text *reader, struct text text)
{
    *reader = (struct profile_text){.lines = {text.data, text.length, byte_order_mark(text)}};
}

static bool profile_line_parse(struct profile_text *reader, struct text line, struct profile_item *ret_item)
{
    if (profile_header_parse(line, &ret_item->text, &ret_item->count)) {
        reader->in_profile = true;
        ret_item->kind = PROFILE_ITEM_HEADER;
        return true;
    }
    if (text_starts_with(line, TEXT("#"))) {
        if (profile_frame_parse(line, &ret_item->frame)) {
            ret_item->kind = PROFILE_ITEM_FRAME;
        } else if (text_take_prefix(&line, TEXT("# labels: "))) {
            ret_item->kind = PROFILE_ITEM_LABELS;
            ret_item->text = trim_right(line);
        } else {
            ret_item->kind = PROFILE_ITEM_COMMENT;
            ret_item->text = text_from(line, line.length > 1 && line.data[1] == ' ' ? 2 : 1);
        }
        return true;
    }
    if (!reader->in_profile)
        return false;
    ret_item->text = line;
    ret_item->kind = text_starts_with(line, TEXT("---")) ? PROFILE_ITEM_SECTION : PROFILE_ITEM_GROUP;
    return ret_item->kind == PROFILE_ITEM_SECTION || profile_group_parse(line, &ret_item->count, &ret_item->text);
}

void profile_text_next(struct profile_text *reader, struct profile_item *ret_item)
{
    struct text line;
    for (;;) {
        *ret_item = (struct profile_item){.kind = PROFILE_ITEM_END, .offset = reader->lines.position};
        if (!text_lines_next(&reader->lines, &line))
            return;
        if (trim_right(line).length == 0)
            continue;
        if (profile_line_parse(reader, line, ret_item))
            return;
        junk_add(&reader->junk, ret_item->offset);
    }
}

/* The end of "{…}" at the start of a text, quoted strings passed over; 0 when it is not closed. */
static size_t braces_end(struct text text)
{
    bool quoted = false;
    for (size_t i = 1; i < text.length; i++) {
        char c = text.data[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (c == '}' && !quoted)
            return i + 1;
    }
    return 0;
}

/* One of the marks that follow the status after a space, in any order: taken off its end. */
static bool drop_mark(struct text *status, struct text mark)
{
    if (!text_ends_with(*status, mark))
        return false;
    status->length -= mark.length;
    return true;
}

static bool header_option_parse(struct text *line, struct goroutine_header *header)
{
    struct text rest = *line;
    uint64_t number;
    if (text_take_prefix(&rest, TEXT("locked to thread"))) {
        header->locked_to_thread = true;
    } else if (text_take_decimal(&rest, &number) && text_take_prefix(&rest, TEXT(" minutes"))) {
        header->minutes = number;
    } else if (text_take_prefix(&rest, TEXT("labels:{"))) {
        header->labels = text_from(*line, sizeof "labels:" - 1);
        header->labels.length = braces_end(header->labels);
        if (header->labels.length == 0)
            return false;
        rest = text_from(*line, sizeof "labels:" - 1 + header->labels.length);
    } else { /* "synctest bubble 2", and what later versions add */
        rest = *line;
        while (rest.length != 0 && rest.data[0] != ',' && rest.data[0] != ']')
            rest = text_from(rest, 1);
    }
    *line = rest;
    return rest.length != 0 && (rest.data[0] == ',' || rest.data[0] == ']');
}

bool goroutine_header_parse(struct text line, struct goroutine_header *ret_header)
{
    struct goroutine_header header = {0};
    if (!text_take_prefix(&line, TEXT("goroutine ")) || !text_take_decimal(&line, &header.id))
        return false;
    /* " gp=0xc000007c00 m=4 mp=0xc000100008" or " m=nil" */
    const char *bracket = line.length == 0 ? NULL : memchr(line.data, '[', line.length);
    if (bracket == NULL || bracket == line.data || bracket[-1] != ' ')
        return false;
    if (bracket - line.data > 1 && !text_starts_with(line, TEXT(" gp=")) && !text_starts_with(line, TEXT(" m=")))
        return false;
    line = text_from(line, (size_t)(bracket - line.data) + 1);
    size_t length = 0;
    while (length < line.length && line.data[length] != ',' && line.data[length] != ']')
        length++;
    if (length == line.length)
        return false;
    header.status = (struct text){line.data, length};
    line = text_from(line, length);
    while (text_take_prefix(&line, TEXT(", ")))
        if (!header_option_parse(&line, &header))
            return false;
    if (!text_take_prefix(&line, TEXT("]")))
        return false;
    if (text_starts_with(line, TEXT(" {"))) {
        header.labels = text_from(line, 1);
        header.labels.length = braces_end(header.labels);
        if (header.labels.length == 0)
            return false;
        line = text_from(line, header.labels.length + 1);
    }
    if (!text_take_prefix(&line, TEXT(":")) || trim_right(line).length != 0)
        return false;
    for (bool dropped = true; dropped;) {
        bool leaked = drop_mark(&header.status, TEXT(" (leaked)"));
        header.leaked |= leaked;
        dropped = leaked || drop_mark(&header.status, TEXT(" (scan)")) || drop_mark(&header.status, TEXT(" (durable)"));
    }
    *ret_header = header;
    return true;
}

void goroutine_text_init(struct goroutine_text *reader, struct text text)
{
    *reader = (struct goroutine_text){.lines = {text.data, text.length, byte_order_mark(text)}};
}

static struct text without_prefix(const struct goroutine_text *reader, struct text line)
{
    return line.length >= reader->prefix_bytes ? text_from(line, reader->prefix_bytes) : line;
}

/* "name(arguments)". Arguments hold no parenthesis, names do. */
static bool call_parse(struct text line, struct text *ret_function, struct text *ret_arguments)
{
    if (line.length < 3 || line.data[line.length - 1] != ')')
        return false;
    const char *open = memrchr(line.data, '(', line.length);
    if (open == NULL || open == line.data)
        return false;
    size_t length = (size_t)(open - line.data);
    *ret_function = (struct text){line.data, length};
    *ret_arguments = (struct text){open + 1, line.length - length - 2};
    return true;
}

/* Whether a call whose place is missing is one at all, and no sentence that ends in a parenthesis. */
static bool call_is_plausible(struct text function, struct text arguments)
{
    for (size_t i = 0; i < arguments.length; i++)
        if (strchr("0123456789abcdefx{}?, ._", arguments.data[i]) == NULL || arguments.data[i] == 0)
            return false;
    return memchr(function.data, ' ', function.length) == NULL && memchr(function.data, '.', function.length) != NULL;
}

/* The place line, "\t/src/m.go:12 +0x1f fp=… sp=… pc=…", when it comes next. */
static bool take_place(struct goroutine_text *reader, struct goroutine_item *item)
{
    struct text line;
    size_t next;
    if (!text_lines_peek(&reader->lines, &line, &next))
        return false;
    line = without_prefix(reader, line);
    if (line.length < 2 || line.data[0] != '\t' || text_starts_with(line, TEXT("\tgoroutine running on")))
        return false;
    line = text_from(line, 1);
    const char *space = memrchr(line.data, ' ', line.length);
    if (space != NULL) {
        struct text last = text_from(line, (size_t)(space - line.data) + 1);
        if (text_take_prefix(&last, TEXT("pc="))) {
            const char *frame = memmem(line.data, line.length, " fp=", 4);
            item->has_pc = frame != NULL && text_take_hex(&last, &item->pc) && last.length == 0;
            if (frame != NULL)
                line.length = (size_t)(frame - line.data);
        }
    }
    item->place = line;
    reader->lines.position = next;
    return true;
}

static bool take_created(struct goroutine_text *reader, struct text line, struct goroutine_item *item)
{
    static const struct text in = {" in goroutine ", sizeof " in goroutine " - 1};
    if (!text_take_prefix(&line, TEXT("created by ")))
        return false;
    const char *found = line.length == 0 ? NULL : memmem(line.data, line.length, in.data, in.length);
    if (found != NULL) {
        struct text number = text_from(line, (size_t)(found - line.data) + in.length);
        if (text_take_decimal(&number, &item->count))
            line.length = (size_t)(found - line.data);
    }
    item->kind = GOROUTINE_ITEM_CREATED;
    item->function = trim_right(line);
    take_place(reader, item);
    return true;
}

/* "...additional frames elided...", "...23 frames elided..." */
static bool elided_parse(struct text line, struct goroutine_item *item)
{
    if (!text_take_prefix(&line, TEXT("...")) || !text_ends_with(line, TEXT(" frames elided...")))
        return false;
    item->kind = GOROUTINE_ITEM_ELIDED;
    text_take_decimal(&line, &item->count);
    return true;
}

static bool header_take(struct goroutine_text *reader, struct text line, size_t prefix_bytes,
                        struct goroutine_item *item)
{
    if (!goroutine_header_parse(line, &item->header))
        return false;
    item->kind = GOROUTINE_ITEM_GOROUTINE;
    reader->in_goroutine = true;
    reader->prefix_bytes = prefix_bytes;
    reader->goroutines++;
    return true;
}

/* A goroutine's first line behind what a logger wrote before it. */
static bool header_find(struct goroutine_text *reader, struct text line, struct goroutine_item *item)
{
    const char *found = line.length == 0 ? NULL : memmem(line.data, line.length, "goroutine ", 10);
    if (found == NULL)
        return false;
    size_t column = (size_t)(found - line.data);
    return header_take(reader, text_from(line, column), column, item);
}

static bool cause_parse(struct text line, struct goroutine_item *item)
{
    static const struct text starts[] = {
        {"panic: ", 7}, {"fatal error: ", 13}, {"SIG", 3}, {"[signal ", 8}, {"runtime: ", 9}};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        if (!text_starts_with(line, starts[i]))
            continue;
        if (starts[i].length == 3 && memchr(line.data, ':', line.length) == NULL)
            return false;
        item->kind = GOROUTINE_ITEM_CAUSE;
        item->text = trim_right(line);
        return true;
    }
    return false;
}

/* A line within a goroutine. */
static bool goroutine_line_parse(struct goroutine_text *reader, struct text line, struct goroutine_item *item)
{
    if (line.data[0] == '\t') {
        if (!text_starts_with(line, TEXT("\tgoroutine running on")))
            return false;
        item->kind = GOROUTINE_ITEM_UNAVAILABLE;
        return true;
    }
    if (line.data[0] == 'c' && take_created(reader, line, item))
        return true;
    if (line.data[0] == '.' && elided_parse(line, item))
        return true;
    if (!call_parse(line, &item->function, &item->arguments))
        return false;
    item->kind = GOROUTINE_ITEM_CALL;
    if (take_place(reader, item))
        return true;
    reader->is_cut |= reader->lines.position >= reader->lines.length;
    return call_is_plausible(item->function, item->arguments);
}

void goroutine_text_next(struct goroutine_text *reader, struct goroutine_item *ret_item)
{
    struct text whole;
    for (;;) {
        *ret_item = (struct goroutine_item){.kind = GOROUTINE_ITEM_END, .offset = reader->lines.position};
        if (!text_lines_next(&reader->lines, &whole))
            return;
        struct text line = without_prefix(reader, whole);
        if (line.length == 0) {
            reader->in_goroutine = false;
            continue;
        }
        if (line.data[0] == 'g' && header_take(reader, line, reader->prefix_bytes, ret_item))
            return;
        if (reader->in_goroutine && goroutine_line_parse(reader, line, ret_item))
            return;
        *ret_item = (struct goroutine_item){.kind = GOROUTINE_ITEM_END, .offset = ret_item->offset};
        if (header_find(reader, whole, ret_item))
            return;
        if (reader->goroutines == 0 && cause_parse(whole, ret_item))
            return;
        if (text_starts_with(line, TEXT("[originating from goroutine ")))
            continue;
        bool is_last = reader->lines.position >= reader->lines.length;
        reader->is_cut |= reader->in_goroutine && is_last && reader->lines.bytes[reader->lines.length - 1] != '\n';
        junk_add(&reader->junk, ret_item->offset);
    }
}

bool goroutine_place_parse(struct text place, struct goroutine_place *ret_place)
{
    struct goroutine_place result = {.file = trim_right(place)};
    const char *plus = place.length == 0 ? NULL : memrchr(place.data, '+', place.length);
    if (plus != NULL && plus > place.data && plus[-1] == ' ') {
        struct text offset = text_from(place, (size_t)(plus - place.data) + 1);
        if (text_take_hex(&offset, &result.offset) && trim_right(offset).length == 0) {
            result.has_offset = true;
            result.file.length = (size_t)(plus - place.data) - 1;
        }
    }
    if (!split_line_number(&result.file, &result.line))
        return false;
    *ret_place = result;
    return true;
}

bool goroutine_argument_next(struct text *arguments, uint64_t *ret_value, bool *ret_is_uncertain)
{
    struct text rest = *arguments;
    while (rest.length != 0 &&
           (rest.data[0] == ' ' || rest.data[0] == ',' || rest.data[0] == '{' || rest.data[0] == '}'))
        rest = text_from(rest, 1);
    if (text_take_prefix(&rest, TEXT("_"))) {
        *ret_value = 0;
        *ret_is_uncertain = true;
    } else if (text_take_hex(&rest, ret_value)) {
        *ret_is_uncertain = text_take_prefix(&rest, TEXT("?"));
    } else {
        return false;
    }
    *arguments = rest;
    return true;
}

/* A key or a value: quoted, or up to one of `stops`. */
static struct text take_label_part(struct text *labels, const char *stops)
{
    size_t i = 0;
    if (labels->length != 0 && labels->data[0] == '"') {
        for (i = 1; i < labels->length && labels->data[i] != '"'; i++)
            i += labels->data[i] == '\\';
        if (i > labels->length)
            i = labels->length;
        struct text part = {labels->data + 1, i - 1};
        *labels = text_from(*labels, i < labels->length ? i + 1 : i);
        return part;
    }
    while (i < labels->length && (labels->data[i] == 0 || strchr(stops, labels->data[i]) == NULL))
        i++;
    struct text part = {labels->data, i};
    *labels = text_from(*labels, i);
    return part;
}

bool goroutine_label_next(struct text *labels, struct text *ret_key, struct text *ret_value)
{
    struct text rest = *labels;
    while (rest.length != 0 && (rest.data[0] == ' ' || rest.data[0] == ',' || rest.data[0] == '{'))
        rest = text_from(rest, 1);
    if (rest.length == 0 || rest.data[0] == '}')
        return false;
    *ret_key = take_label_part(&rest, ":");
    if (!text_take_prefix(&rest, TEXT(":")))
        return false;
    while (rest.length != 0 && rest.data[0] == ' ')
        rest = text_from(rest, 1);
    *ret_value = take_label_part(&rest, ",}");
    *labels = rest;
    return true;
}
