/* SPDX-License-Identifier: Apache-2.0 */
#include "format/rule_file.h"
#include "base/limits.h"
#include "base/word.h"
#include "format/yaml_tree.h"

#include <stdarg.h>
#include <stdio.h>

enum { format_version = 1 };

struct parsing {
    struct rule_file *file;
    struct arena *arena;
    bool is_cut; /* keys that seem to be missing can stand where the file was not read */
};

static const char *const severity_words[] = {
    [RULE_INFO] = "info", [RULE_WARNING] = "warning", [RULE_CRITICAL] = "critical"};
static const char *const detector_words[RULE_DETECTOR_COUNT] = {
    [RULE_COUNT] = "count", [RULE_LOCK_CYCLE] = "lock-cycle", [RULE_LOCK_QUEUE] = "lock-queue",
    [RULE_STUCK] = "stuck",
    [RULE_CHANNEL] = "channel", [RULE_POOL] = "pool", [RULE_LEAK] = "leak",
    [RULE_DESCRIPTORS] = "descriptors",
};
static const char *const member_words[] = {
    [RULE_FOR_ANY] = "any", [RULE_FOR_THREADS] = "threads", [RULE_FOR_GOROUTINES] = "goroutines"};

static const char *const holder_words[] = {
    [RULE_HOLDER_MEMBER] = "member", [RULE_HOLDER_ENDED] = "ended", [RULE_HOLDER_READERS] = "readers",
    [RULE_HOLDER_UNKNOWN] = "unknown"};

const char *rule_detector_name(enum rule_detector detector)
{
    return detector_words[detector];
}

static bool place_is_before(struct rule_place a, struct rule_place b)
{
    return a.line != b.line ? a.line < b.line : a.column < b.column;
}

void rule_file_add_error(struct rule_file *file, struct arena *arena, struct rule_place place, const char *format, ...)
{
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (file->error_count == limit_rule_file_errors)
        return;
    if (file->errors == NULL)
        file->errors = arena_array(arena, struct rule_error, limit_rule_file_errors);
    size_t at = file->error_count++;
    for (; at > 0 && place_is_before(place, file->errors[at - 1].place); at--)
        file->errors[at] = file->errors[at - 1];
    file->errors[at] = (struct rule_error){place, arena_printf(arena, "%s", line)};
}

const char *rule_file_error_text(const struct rule_file *file, size_t number, struct arena *arena)
{
    const struct rule_error *error = &file->errors[number];
    return arena_printf(arena, "%.*s:%u:%u: %s", (int)file->path.length, file->path.data, error->place.line,
                        error->place.column, error->message);
}

struct rule_place rule_pattern_place(const struct rule_pattern *pattern, size_t offset)
{
    struct rule_place place = pattern->place;
    for (size_t i = 0; i < offset && i < pattern->expression.length; i++) {
        char c = pattern->expression.data[i];
        if (c == '\n') {
            place.line++;
            place.column = pattern->place.column;
        } else if (((unsigned char)c & 0xc0) != 0x80) {
            place.column += c == '\'' && pattern->is_quoted ? 2 : 1;
        }
    }
    return place;
}

const char *rule_word_nearest(struct text word, const char *const *words, size_t count)
{
    const char *nearest = NULL;
    size_t best = word.length < 4 ? 2 : word.length < 8 ? 3 : 4;
    for (size_t i = 0; i < count; i++) {
        struct text known = text_from_string(words[i]);
        if (known.length == 0)
            continue;
        size_t distance = word_distance(word, known, best);
        if (distance < best) {
            best = distance;
            nearest = words[i];
        }
    }
    return nearest;
}

static struct rule_place place_of(struct yaml_place place)
{
    return (struct rule_place){place.line, place.column};
}

#define FAIL(parsing, node, ...)                                                                                       \
    rule_file_add_error((parsing)->file, (parsing)->arena, place_of((node)->place), __VA_ARGS__)

/* "a, b, c" */
static const char *join_words(struct arena *arena, const char *const *words, size_t count)
{
    const char *joined = "";
    for (size_t i = 0; i < count; i++)
        if (words[i] != NULL)
            joined = arena_printf(arena, "%s%s%s", joined, *joined != 0 ? ", " : "", words[i]);
    return joined;
}

/* What a message calls the value of this key. */
static const char *key_name(const struct yaml_node *node)
{
    return node->key != NULL ? node->key->text.data : "an item";
}

/* A scalar that is not empty; false: an error was told. */
static bool take_text(struct parsing *parsing, const struct yaml_node *node, struct text *ret_text)
{
    if (node->is_refused)
        return false;
    if (node->kind != YAML_TREE_SCALAR) {
        FAIL(parsing, node, "'%.64s' is one text, not a %s", key_name(node),
             node->kind == YAML_TREE_MAP ? "map" : "list");
        return false;
    }
    struct text text = node->text;
    while (text.length != 0 && (text.data[text.length - 1] == '\n' || text.data[text.length - 1] == ' '))
        text.length--;
    if (text.length == 0) {
        FAIL(parsing, node, "'%.64s' has no value", key_name(node));
        return false;
    }
    *ret_text = text_copy(parsing->arena, text);
    return true;
}

/* The number of the word among `words`; -1: none, an error was told. */
static int take_word(struct parsing *parsing, const struct yaml_node *node, const char *const *words, size_t count)
{
    struct text text;
    if (!take_text(parsing, node, &text))
        return -1;
    for (size_t i = 0; i < count; i++)
        if (words[i] != NULL && text_equals(text, text_from_string(words[i])))
            return (int)i;
    FAIL(parsing, node, "'%.64s' is no value of '%s'; there are: %s", text.data, key_name(node),
         join_words(parsing->arena, words, count));
    return -1;
}

/* Ids stand in options, in JSON and on the screen. */
static bool take_id(struct parsing *parsing, const struct yaml_node *node, struct text *ret_text)
{
    struct text text;
    if (!take_text(parsing, node, &text))
        return false;
    for (size_t i = 0; i < text.length; i++) {
        char c = text.data[i];
        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && (i == 0 || (c != '-' && c != '_' && c != '.'))) {
            FAIL(parsing, node, "'%.64s' must be lower-case letters, digits and '-'", text.data);
            return false;
        }
    }
    *ret_text = text;
    return true;
}

static bool take_number(struct parsing *parsing, const struct yaml_node *node, uint64_t *ret_number)
{
    struct text text;
    if (!take_text(parsing, node, &text))
        return false;
    uint64_t number = 0;
    bool is_number = text.length <= 18;
    for (size_t i = 0; i < text.length && is_number; i++) {
        is_number = text.data[i] >= '0' && text.data[i] <= '9';
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    }
    if (!is_number || number == 0) {
        FAIL(parsing, node, "'%.64s' of '%s' is no whole number from 1 on", text.data, key_name(node));
        return false;
    }
    *ret_number = number;
    return true;
}

/* "12.5" and a unit, in thousandths; false: it does not look so. */
static bool parse_thousandths(struct text text, struct text unit, uint64_t max, uint64_t *ret_thousandths)
{
    if (!text_ends_with(text, unit) || text.length > 12)
        return false;
    text.length -= unit.length;
    uint64_t value = 0, scale = 1000;
    bool has_point = false, has_digit = false;
    for (size_t i = 0; i < text.length; i++) {
        char c = text.data[i];
        if (c == '.' && has_digit && !has_point) {
            has_point = true;
            continue;
        }
        if (c < '0' || c > '9' || scale == 1)
            return false;
        has_digit = true;
        value = value * 10 + (uint64_t)(c - '0');
        if (has_point)
            scale /= 10;
    }
    *ret_thousandths = value * scale;
    return has_digit && text.data[text.length - 1] != '.' && value != 0 && value <= max;
}

/* "90s", "5m", "2h", "1d" */
static void take_duration(struct parsing *parsing, const struct yaml_node *node, uint64_t *ret_seconds)
{
    static const struct {
        struct text unit;
        uint64_t seconds;
    } units[] = {{{"s", 1}, 1}, {{"m", 1}, 60}, {{"h", 1}, 3600}, {{"d", 1}, 86400}};
    struct text text;
    uint64_t thousandths;
    if (!take_text(parsing, node, &text))
        return;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (parse_thousandths(text, units[i].unit, 1000000, &thousandths) && thousandths * units[i].seconds >= 1000) {
            *ret_seconds = thousandths * units[i].seconds / 1000;
            return;
        }
    FAIL(parsing, node, "'%.64s' of '%s' is no time such as 90s, 5m or 2h", text.data, key_name(node));
}

static void take_share(struct parsing *parsing, const struct yaml_node *node, uint32_t *ret_permille)
{
    struct text text;
    uint64_t thousandths;
    if (!take_text(parsing, node, &text))
        return;
    if (!parse_thousandths(text, TEXT("%"), 1000000, &thousandths) || thousandths > 100000 || thousandths < 100)
        FAIL(parsing, node, "'%.64s' of 'share' is no part of all members such as 50%%", text.data);
    else
        *ret_permille = (uint32_t)(thousandths / 100);
}

static void take_factor(struct parsing *parsing, const struct yaml_node *node, uint32_t *ret_permille)
{
    struct text text;
    uint64_t thousandths;
    if (!take_text(parsing, node, &text))
        return;
    if (!parse_thousandths(text, TEXT("x"), 1000000, &thousandths) || thousandths <= 1000 || thousandths > 1000000)
        FAIL(parsing, node, "'%.64s' of 'grown' is no factor such as 2x", text.data);
    else
        *ret_permille = (uint32_t)thousandths;
}

/* One line of words for people. */
static void take_line(struct parsing *parsing, const struct yaml_node *node, struct text *ret_text)
{
    struct text text;
    if (!take_text(parsing, node, &text))
        return;
    if (memchr(text.data, '\n', text.length) != NULL)
        FAIL(parsing, node, "'%s' is one line", key_name(node));
    else
        *ret_text = text;
}

enum pattern_prefixes { PATTERN_OF_WORDS, PATTERN_OF_FRAMES, PATTERN_OF_STACK };

static bool take_pattern(struct parsing *parsing, const struct yaml_node *node, enum pattern_prefixes prefixes,
                         struct rule_pattern *ret_pattern)
{
    static const struct {
        struct text prefix;
        enum rule_field field;
    } fields[] = {{{"file:", 5}, RULE_FIELD_FILE}, {{"module:", 7}, RULE_FIELD_MODULE}};
    if (node->is_refused)
        return false;
    if (node->kind != YAML_TREE_SCALAR) {
        FAIL(parsing, node, "a regular expression is one text, not a %s%s", node->kind == YAML_TREE_MAP ? "map" : "list",
             node->kind == YAML_TREE_MAP ? "; it must be single-quoted" : "");
        return false;
    }
    switch (node->style) {
    case YAML_TREE_PLAIN:
        FAIL(parsing, node, "a regular expression must be single-quoted or a '|' block: unquoted, YAML would cut it at"
                            " ' #' and take '*', '[', '!', '{' or ': ' for its own");
        return false;
    case YAML_TREE_DOUBLE_QUOTED:
        FAIL(parsing, node, "a regular expression must be single-quoted or a '|' block: in double quotes YAML takes"
                            " backslashes away");
        return false;
    case YAML_TREE_FOLDED:
        FAIL(parsing, node, "a regular expression must be single-quoted or a '|' block: '>' would join its lines with"
                            " spaces");
        return false;
    case YAML_TREE_SINGLE_QUOTED:
        if (!node->spans_lines)
            break;
        FAIL(parsing, node, "a single-quoted regular expression must end in its line; use a '|' block");
        return false;
    case YAML_TREE_LITERAL:
        break;
    }
    struct text text = node->text;
    if (node->style == YAML_TREE_LITERAL)
        while (text.length != 0 && text.data[text.length - 1] == '\n')
            text.length--;
    struct rule_pattern pattern = {.is_quoted = node->style == YAML_TREE_SINGLE_QUOTED, .place = place_of(node->content)};
    size_t skipped = 0;
    if (text_starts_with(text, TEXT("-> "))) {
        if (prefixes != PATTERN_OF_STACK)
            FAIL(parsing, node, "'-> ' stands in front of items of 'stack' only");
        pattern.is_next = true;
        skipped = 3;
        while (skipped < text.length && text.data[skipped] == ' ')
            skipped++;
    }
    text = (struct text){text.data + skipped, text.length - skipped};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0] && prefixes != PATTERN_OF_WORDS; i++)
        if (text_starts_with(text, fields[i].prefix)) {
            pattern.field = fields[i].field;
            skipped += fields[i].prefix.length;
            text = (struct text){text.data + fields[i].prefix.length, text.length - fields[i].prefix.length};
            break;
        }
    pattern.place.column += (uint32_t)skipped;
    if (text.length == 0) {
        FAIL(parsing, node, "an empty regular expression");
        return false;
    }
    pattern.expression = text_copy(parsing->arena, text);
    *ret_pattern = pattern;
    return true;
}

/* One expression, or a list of some. */
static void take_patterns(struct parsing *parsing, const struct yaml_node *node, enum pattern_prefixes prefixes,
                          struct rule_patterns *ret_patterns)
{
    const struct yaml_node *first = node->kind == YAML_TREE_SEQUENCE ? node->first : node;
    size_t count = 0;
    if (first == NULL && !parsing->is_cut)
        FAIL(parsing, node, "'%s' is an empty list", key_name(node));
    for (const struct yaml_node *item = first; item != NULL; item = item == node ? NULL : item->next)
        count++;
    *ret_patterns = (struct rule_patterns){.items = arena_array(parsing->arena, struct rule_pattern, count)};
    for (const struct yaml_node *item = first; item != NULL; item = item == node ? NULL : item->next)
        ret_patterns->count += take_pattern(parsing, item, prefixes, &ret_patterns->items[ret_patterns->count]);
}

static void take_one_pattern(struct parsing *parsing, const struct yaml_node *node, enum pattern_prefixes prefixes,
                             struct rule_patterns *ret_patterns)
{
    if (node->kind == YAML_TREE_SEQUENCE)
        FAIL(parsing, node, "'%s' is one regular expression; write alternatives as 'a|b'", key_name(node));
    else
        take_patterns(parsing, node, prefixes, ret_patterns);
}

static void take_words(struct parsing *parsing, const struct yaml_node *node, struct rule_word **ret_words,
                       size_t *ret_count)
{
    const struct yaml_node *first = node->kind == YAML_TREE_SEQUENCE ? node->first : node;
    size_t count = 0;
    if (first == NULL && !parsing->is_cut)
        FAIL(parsing, node, "'%s' is an empty list", key_name(node));
    for (const struct yaml_node *item = first; item != NULL; item = item == node ? NULL : item->next)
        count++;
    *ret_words = arena_array(parsing->arena, struct rule_word, count);
    *ret_count = 0;
    for (const struct yaml_node *item = first; item != NULL; item = item == node ? NULL : item->next) {
        struct rule_word word = {.place = place_of(item->place)};
        if (take_text(parsing, item, &word.text))
            (*ret_words)[(*ret_count)++] = word;
    }
}

enum key_kind {
    KEY_ID,            /* struct text */
    KEY_LINE,          /* struct text */
    KEY_TEXT,          /* struct text */
    KEY_PAGE,          /* struct text */
    KEY_NUMBER,        /* uint64_t */
    KEY_VERSION,       /* uint64_t */
    KEY_SEVERITY,
    KEY_DETECTOR,
    KEY_MEMBERS,
    KEY_HOLDER,
    KEY_PATTERN,       /* struct rule_patterns, as all below */
    KEY_PATTERNS,
    KEY_STACK,
    KEY_STATE,
    KEY_WAITS,         /* in struct rule_match */
    KEY_DURATION,      /* uint64_t, seconds */
    KEY_SHARE,         /* uint32_t, of a thousand */
    KEY_FACTOR,        /* uint32_t, of a thousand */
    KEY_BY,            /* in struct rule */
    KEY_HEAD,          /* in struct rule */
    KEY_EXAMPLES,      /* in struct rule */
    KEY_RULES,         /* in struct rule_file */
};

struct key_row {
    const char *name;
    enum key_kind kind;
    size_t offset; /* into the struct that the map fills; 0 where the kind knows its fields */
    bool is_required;
};

#define IN_FILE(field) offsetof(struct rule_file, field)
#define IN_RULE(field) offsetof(struct rule, field)
#define IN_MATCH(field) offsetof(struct rule_match, field)

static const struct key_row file_keys[] = {
    {"plugin", KEY_ID, IN_FILE(plugin), true},
    {"version", KEY_VERSION, IN_FILE(version), true},
    {"about", KEY_TEXT, IN_FILE(about), false},
    {"machinery", KEY_PATTERNS, IN_FILE(machinery), false},
    {"rules", KEY_RULES, 0, false},
};

static const struct key_row match_keys[] = {
    {"leaf", KEY_PATTERN, IN_MATCH(leaf), false},
    {"stack", KEY_STACK, IN_MATCH(stack), false},
    {"any", KEY_PATTERNS, IN_MATCH(any), false},
    {"none", KEY_PATTERNS, IN_MATCH(none), false},
    {"root", KEY_PATTERN, IN_MATCH(root), false},
    {"state", KEY_STATE, IN_MATCH(state), false},
    {"created-by", KEY_STATE, IN_MATCH(creator), false},
    {"waits-on", KEY_WAITS, 0, false},
    {"waited", KEY_DURATION, IN_MATCH(waited_seconds), false},
};

/* Those of match_keys are a rule's too. */
static const struct key_row rule_keys[] = {
    {"id", KEY_ID, IN_RULE(id), true},
    {"severity", KEY_SEVERITY, IN_RULE(severity), true},
    {"detector", KEY_DETECTOR, IN_RULE(detector), false},
    {"for", KEY_MEMBERS, IN_RULE(members), false},
    {"head", KEY_HEAD, 0, false},
    {"acquire", KEY_PATTERNS, IN_RULE(acquire), false},
    {"keeps", KEY_PATTERNS, IN_RULE(keeps), false},
    {"hold", KEY_PATTERNS, IN_RULE(hold), false},
    {"creates", KEY_PATTERNS, IN_RULE(creates), false},
    {"less", KEY_PATTERNS, IN_RULE(less), false},
    {"size", KEY_LINE, IN_RULE(size), false},
    {"in-use", KEY_LINE, IN_RULE(in_use), false},
    {"lent", KEY_LINE, IN_RULE(lent), false},
    {"pool", KEY_LINE, IN_RULE(pool), false},
    {"holder", KEY_HOLDER, IN_RULE(holder), false},
    {"at-least", KEY_NUMBER, IN_RULE(at_least), false},
    {"info-from", KEY_NUMBER, IN_RULE(info_from), false},
    {"share", KEY_SHARE, IN_RULE(share_permille), false},
    {"grown", KEY_FACTOR, IN_RULE(grown_permille), false},
    {"by", KEY_BY, 0, false},
    {"title", KEY_LINE, IN_RULE(title), false},
    {"advice", KEY_TEXT, IN_RULE(advice), false},
    {"runbook", KEY_PAGE, IN_RULE(runbook), false},
    {"examples", KEY_EXAMPLES, 0, false},
};

enum {
    file_key_count = sizeof file_keys / sizeof file_keys[0],
    match_key_count = sizeof match_keys / sizeof match_keys[0],
    rule_key_count = sizeof rule_keys / sizeof rule_keys[0],
};

static bool check_is_map(struct parsing *parsing, const struct yaml_node *node, const char *what)
{
    if (node->is_refused)
        return false;
    if (node->kind == YAML_TREE_MAP)
        return true;
    FAIL(parsing, node, "%s is a map of 'key: value' lines", what);
    return false;
}

static const struct key_row *find_key(const struct key_row *rows, size_t count, struct text name)
{
    for (size_t i = 0; i < count; i++)
        if (text_equals(name, text_from_string(rows[i].name)))
            return &rows[i];
    return NULL;
}

static const struct yaml_node *find_child(const struct yaml_node *map, const char *name)
{
    for (const struct yaml_node *child = map->first; child != NULL; child = child->next)
        if (text_equals(child->key->text, text_from_string(name)))
            return child;
    return NULL;
}

static void take_value(struct parsing *parsing, const struct key_row *row, const struct yaml_node *node, void *into);

/* Fills `into` by the rows; a rule also has its match's keys. */
static void take_map(struct parsing *parsing, const struct yaml_node *map, const char *what, const struct key_row *rows,
                     size_t row_count, void *into)
{
    const char *names[rule_key_count + match_key_count];
    size_t name_count = 0;
    struct rule_match *match = rows == rule_keys ? &((struct rule *)into)->match : NULL;
    for (size_t i = 0; i < row_count; i++)
        names[name_count++] = rows[i].name;
    for (size_t i = 0; i < match_key_count && match != NULL; i++)
        names[name_count++] = match_keys[i].name;
    for (const struct yaml_node *child = map->first; child != NULL; child = child->next) {
        struct text name = child->key->text;
        const struct key_row *row = find_key(rows, row_count, name);
        const struct key_row *match_row = match != NULL ? find_key(match_keys, match_key_count, name) : NULL;
        if (child->key->is_refused || child->is_refused)
            continue;
        if (row != NULL) {
            take_value(parsing, row, child, into);
        } else if (match_row != NULL) {
            take_value(parsing, match_row, child, match);
        } else {
            const char *nearest = rule_word_nearest(name, names, name_count);
            if (nearest != NULL)
                FAIL(parsing, child->key, "%s has no key '%.64s'; did you mean '%s'?", what, name.data, nearest);
            else
                FAIL(parsing, child->key, "%s has no key '%.64s'; there are: %s", what, name.data,
                     join_words(parsing->arena, names, name_count));
        }
    }
    for (size_t i = 0; i < row_count && !parsing->is_cut; i++)
        if (rows[i].is_required && find_child(map, rows[i].name) == NULL)
            FAIL(parsing, map, "%s has no '%s'", what, rows[i].name);
}

static void take_example(struct parsing *parsing, const struct yaml_node *item, struct rule *rule)
{
    struct rule_example *example = &rule->examples[rule->example_count];
    if (!check_is_map(parsing, item, "an example"))
        return;
    const struct yaml_node *node = item->first;
    bool finds = node != NULL && text_equals(node->key->text, TEXT("finds"));
    if (node == NULL || node->next != NULL || (!finds && !text_equals(node->key->text, TEXT("silent")))) {
        FAIL(parsing, item, "an example is one of 'finds: |' and 'silent: |' with a dump below it");
        return;
    }
    if (node->is_refused)
        return;
    if (node->kind != YAML_TREE_SCALAR || node->style != YAML_TREE_LITERAL) {
        FAIL(parsing, node, "a dump must be a '|' block, in which lines stay as they are");
        return;
    }
    *example = (struct rule_example){
        .is_silent = !finds, .dump = text_copy(parsing->arena, node->text), .place = place_of(node->content)};
    rule->example_count++;
}

static void take_examples(struct parsing *parsing, const struct yaml_node *node, struct rule *rule)
{
    size_t count = 0;
    if (node->kind != YAML_TREE_SEQUENCE) {
        FAIL(parsing, node, "'examples' is a list of 'finds: |' and 'silent: |'");
        return;
    }
    for (const struct yaml_node *item = node->first; item != NULL; item = item->next)
        count++;
    rule->examples = arena_array(parsing->arena, struct rule_example, count);
    for (const struct yaml_node *item = node->first; item != NULL; item = item->next)
        take_example(parsing, item, rule);
}

static void check_rule(struct parsing *parsing, const struct yaml_node *node, const struct rule *rule)
{
    static const struct {
        const char *name;
        enum rule_detector detector;
    } owned[] = {{"head", RULE_LOCK_QUEUE}, {"acquire", RULE_POOL}, {"keeps", RULE_POOL}, {"hold", RULE_POOL},
                 {"lent", RULE_STUCK},      {"pool", RULE_STUCK},
                 {"creates", RULE_LEAK},    {"holder", RULE_LOCK_QUEUE}, {"less", RULE_COUNT},
                 {"info-from", RULE_LOCK_QUEUE}};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) {
        const struct yaml_node *child = find_child(node, owned[i].name);
        if (child != NULL && rule->detector != owned[i].detector)
            FAIL(parsing, child->key, "'%s' belongs to 'detector: %s', this rule's is '%s'", owned[i].name,
                 detector_words[owned[i].detector], detector_words[rule->detector]);
    }
    static const char *const counters[] = {"size", "in-use"};
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++) {
        const struct yaml_node *child = find_child(node, counters[i]);
        if (child != NULL && rule->detector != RULE_POOL && rule->lent.length == 0)
            FAIL(parsing, child->key, "'%s' belongs to 'detector: %s', this rule's is '%s'", counters[i],
                 detector_words[RULE_POOL], detector_words[rule->detector]);
    }
    if (rule->detector == RULE_STUCK && rule->lent.length != 0 && !parsing->is_cut &&
        (rule->pool.length == 0 || rule->size.length == 0 || rule->in_use.length == 0))
        FAIL(parsing, node, "a rule with 'lent' has no 'pool', 'size' or 'in-use'");
    if (rule->detector == RULE_POOL && !parsing->is_cut && find_child(node, "acquire") == NULL)
        FAIL(parsing, node, "a rule of 'detector: pool' has no 'acquire'");
    /* Those of locks say themselves who waits for whom. */
    bool has_own_title = rule->detector == RULE_LOCK_CYCLE || rule->detector == RULE_LOCK_QUEUE;
    if (!has_own_title && !parsing->is_cut && find_child(node, "title") == NULL)
        FAIL(parsing, node, "a rule has no 'title'");
    for (size_t i = 0; i < parsing->file->rule_count && rule->id.length != 0; i++)
        if (text_equals(parsing->file->rules[i].id, rule->id))
            FAIL(parsing, find_child(node, "id"), "the id '%.64s' stands here twice, first in line %u", rule->id.data,
                 parsing->file->rules[i].place.line);
}

static void take_rules(struct parsing *parsing, const struct yaml_node *node)
{
    struct rule_file *file = parsing->file;
    size_t count = 0;
    if (node->kind != YAML_TREE_SEQUENCE) {
        FAIL(parsing, node, "'rules' is a list of rules");
        return;
    }
    for (const struct yaml_node *item = node->first; item != NULL; item = item->next)
        count++;
    file->rules = arena_array(parsing->arena, struct rule, count);
    for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
        struct rule rule = {.place = place_of(item->place)};
        if (!check_is_map(parsing, item, "a rule"))
            continue;
        take_map(parsing, item, "a rule", rule_keys, rule_key_count, &rule);
        check_rule(parsing, item, &rule);
        file->rules[file->rule_count++] = rule;
    }
}

static void take_by(struct parsing *parsing, const struct yaml_node *node, struct rule *rule)
{
    struct rule_word *words;
    take_words(parsing, node, &words, &rule->by_count);
    rule->by = arena_array(parsing->arena, struct text, rule->by_count);
    rule->by_places = arena_array(parsing->arena, struct rule_place, rule->by_count);
    for (size_t i = 0; i < rule->by_count; i++) {
        rule->by[i] = words[i].text;
        rule->by_places[i] = words[i].place;
    }
}

static void take_page(struct parsing *parsing, const struct yaml_node *node, struct text *ret_page)
{
    struct text text;
    if (!take_text(parsing, node, &text))
        return;
    if (memchr(text.data, '/', text.length) != NULL || memchr(text.data, '\n', text.length) != NULL ||
        text.data[0] == '.')
        FAIL(parsing, node, "'%.64s': a runbook is the name of a file beside the plugin, without a folder", text.data);
    else
        *ret_page = text;
}

static void take_value(struct parsing *parsing, const struct key_row *row, const struct yaml_node *node, void *into)
{
    void *field = (char *)into + row->offset;
    int word;
    switch (row->kind) {
    case KEY_ID:
        take_id(parsing, node, field);
        return;
    case KEY_LINE:
        take_line(parsing, node, field);
        return;
    case KEY_TEXT:
        take_text(parsing, node, field);
        return;
    case KEY_PAGE:
        take_page(parsing, node, field);
        return;
    case KEY_NUMBER:
        take_number(parsing, node, field);
        return;
    case KEY_VERSION:
        if (take_number(parsing, node, field) && *(uint64_t *)field > format_version)
            FAIL(parsing, node, "version %.18s of the rule language is not known to this stackgroup, which reads %d",
                 node->text.data, format_version);
        return;
    case KEY_SEVERITY:
        word = take_word(parsing, node, severity_words, sizeof severity_words / sizeof severity_words[0]);
        *(enum rule_severity *)field = word < 0 ? RULE_SEVERITY_UNKNOWN : (enum rule_severity)word;
        return;
    case KEY_DETECTOR:
        word = take_word(parsing, node, detector_words, RULE_DETECTOR_COUNT);
        *(enum rule_detector *)field = word < 0 ? RULE_COUNT : (enum rule_detector)word;
        return;
    case KEY_MEMBERS:
        word = take_word(parsing, node, member_words, sizeof member_words / sizeof member_words[0]);
        *(enum rule_for *)field = word < 0 ? RULE_FOR_ANY : (enum rule_for)word;
        return;
    case KEY_HOLDER:
        word = take_word(parsing, node, holder_words, sizeof holder_words / sizeof holder_words[0]);
        *(enum rule_holder *)field = word < 0 ? RULE_HOLDER_ANY : (enum rule_holder)word;
        return;
    case KEY_PATTERN:
        take_one_pattern(parsing, node, PATTERN_OF_FRAMES, field);
        return;
    case KEY_PATTERNS:
        take_patterns(parsing, node, PATTERN_OF_FRAMES, field);
        return;
    case KEY_STACK:
        take_patterns(parsing, node, PATTERN_OF_STACK, field);
        return;
    case KEY_STATE:
        take_one_pattern(parsing, node, PATTERN_OF_WORDS, field);
        return;
    case KEY_WAITS: {
        struct rule_match *match = into;
        take_words(parsing, node, &match->waits_on_words, &match->waits_on_word_count);
        return;
    }
    case KEY_DURATION:
        take_duration(parsing, node, field);
        return;
    case KEY_SHARE:
        take_share(parsing, node, field);
        return;
    case KEY_FACTOR:
        take_factor(parsing, node, field);
        return;
    case KEY_BY:
        take_by(parsing, node, into);
        return;
    case KEY_HEAD:
        ((struct rule *)into)->has_head = true;
        if (check_is_map(parsing, node, "'head'"))
            take_map(parsing, node, "'head'", match_keys, match_key_count, &((struct rule *)into)->head);
        return;
    case KEY_EXAMPLES:
        take_examples(parsing, node, into);
        return;
    case KEY_RULES:
        take_rules(parsing, node);
        return;
    }
}

struct rule_file rule_file_parse(struct text path, struct text bytes, struct arena *arena)
{
    struct rule_file file = {.path = text_copy(arena, path)};
    struct yaml_tree tree = yaml_tree_parse(bytes, arena);
    struct parsing parsing = {&file, arena, tree.is_cut};
    for (size_t i = 0; i < tree.error_count; i++)
        rule_file_add_error(&file, arena, place_of(tree.errors[i].place), "%s", tree.errors[i].message);
    if (tree.root == NULL && tree.error_count == 0)
        rule_file_add_error(&file, arena, (struct rule_place){1, 1}, "the file is empty");
    if (tree.root == NULL || !check_is_map(&parsing, tree.root, "a plugin"))
        return file;
    take_map(&parsing, tree.root, "a plugin", file_keys, file_key_count, &file);
    if (find_child(tree.root, "rules") == NULL && find_child(tree.root, "machinery") == NULL && !tree.is_cut)
        FAIL(&parsing, tree.root, "a plugin has no 'rules'");
    return file;
}
