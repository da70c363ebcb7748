/* SPDX-License-Identifier: Apache-2.0 */
#include "source/core_record.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/xattr.h>

static struct text attribute(const char *path, const char *name, struct arena *arena)
{
    char full[64], value[4096];
    snprintf(full, sizeof full, "user.coredump.%s", name);
    ssize_t got = getxattr(path, full, value, sizeof value - 1);
    if (got <= 0)
        return (struct text){"", 0};
    value[got] = 0;
    return text_copy(arena, text_from_string(value));
}

/* libsystemd is asked when it is there; sd-journal(3). Nothing is taken from an arena while the handle is open: the
 * jump out of one that is exhausted would leave it so. */
struct journal {
    void *library, *handle;
    char *next, *end; /* room for fields, taken before */
    int (*open)(void **handle, int flags);
    int (*open_directory)(void **handle, const char *path, int flags);
    void (*close)(void *handle);
    int (*add_match)(void *handle, const void *data, size_t size);
    int (*seek_tail)(void *handle);
    int (*previous)(void *handle);
    int (*get_data)(void *handle, const char *field, const void **data, size_t *length);
};

static bool journal_load(struct journal *journal)
{
    /* It keeps memory that would be lost with it. */
    journal->library = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (journal->library == NULL)
        return false;
    const struct {
        const char *name;
        void *place;
    } functions[] = {
        {"sd_journal_open", &journal->open},           {"sd_journal_open_directory", &journal->open_directory},
        {"sd_journal_close", &journal->close},         {"sd_journal_add_match", &journal->add_match},
        {"sd_journal_seek_tail", &journal->seek_tail}, {"sd_journal_previous", &journal->previous},
        {"sd_journal_get_data", &journal->get_data},
    };
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        void *function = dlsym(journal->library, functions[i].name);
        if (function == NULL) {
            dlclose(journal->library);
            return false;
        }
        memcpy(functions[i].place, &function, sizeof function);
    }
    return true;
}

/* Until the next call into the library. */
static struct text field_data(const struct journal *journal, const char *name)
{
    const void *data;
    size_t length, before = strlen(name) + 1; /* "NAME=" */
    if (journal->get_data(journal->handle, name, &data, &length) < 0 || length < before || length > INT_MAX)
        return (struct text){"", 0};
    return (struct text){(const char *)data + before, length - before};
}

/* Kept, NUL-terminated; what is longer than any path is none of these fields. */
static struct text field(struct journal *journal, const char *name)
{
    struct text data = field_data(journal, name), copy = {journal->next, data.length};
    if (data.length >= PATH_MAX || (size_t)(journal->end - journal->next) <= data.length)
        return (struct text){"", 0};
    memcpy(journal->next, data.data, data.length);
    journal->next += data.length;
    *journal->next++ = 0;
    return copy;
}

static void set_text(struct text *text, struct text value)
{
    if (text->length == 0)
        *text = value;
}

static uint64_t number(struct text text)
{
    return text.length == 0 ? 0 : strtoull(text.data, NULL, 10); /* NUL-terminated */
}

/* Seconds until 2016 (systemd 229), microseconds since. Who may write attributes may write any: no year of five digits.
 */
static uint64_t moment(struct text text)
{
    static const uint64_t second = 1000000, year_10000 = (uint64_t)253402300800;
    uint64_t stamp = number(text);
    if (stamp < (uint64_t)1 << 40)
        stamp *= second;
    return stamp < year_10000 * second ? stamp : 0;
}

static void read_attributes(const char *path, struct arena *arena, struct core_record *record)
{
    record->pid = (uint32_t)number(attribute(path, "pid", arena));
    record->signal = (int32_t)number(attribute(path, "signal", arena));
    record->microseconds = moment(attribute(path, "timestamp", arena));
    record->exe = attribute(path, "exe", arena);
    record->command = attribute(path, "comm", arena);
    record->host = attribute(path, "hostname", arena);
}

static void read_entry(struct journal *journal, struct core_record *record)
{
    set_text(&record->unit, field(journal, "COREDUMP_UNIT"));
    set_text(&record->unit, field(journal, "COREDUMP_USER_UNIT"));
    set_text(&record->exe, field(journal, "COREDUMP_EXE"));
    set_text(&record->command, field(journal, "COREDUMP_COMM"));
    set_text(&record->host, field(journal, "COREDUMP_HOSTNAME"));
    if (record->microseconds == 0)
        record->microseconds = moment(field(journal, "COREDUMP_TIMESTAMP"));
    if (record->signal == 0)
        record->signal = (int32_t)number(field(journal, "COREDUMP_SIGNAL"));
    if (record->pid == 0)
        record->pid = (uint32_t)number(field(journal, "COREDUMP_PID"));
}

/* The entry about this very file, else the last one about its process: what coredumpctl unpacked has another name.
 * False: there is none. */
static bool read_journal(struct journal *journal, const char *path, uint32_t pid, struct core_record *record)
{
    enum { entries_max = 64 };
    char match[64], resolved[PATH_MAX];
    /* MESSAGE_ID of "process dumped core", sd-messages.h */
    static const char message[] = "MESSAGE_ID=fc2e22bc6ee647b6b90729ab34a250b1";
    int length = snprintf(match, sizeof match, "COREDUMP_PID=%" PRIu32, pid);
    if (journal->add_match(journal->handle, message, sizeof message - 1) < 0 ||
        journal->add_match(journal->handle, match, (size_t)length) < 0 || journal->seek_tail(journal->handle) < 0)
        return false;
    struct core_record last = {0};
    bool is_found = false;
    struct text name = text_from_string(realpath(path, resolved) == NULL ? path : resolved);
    for (int i = 0; i < entries_max && journal->previous(journal->handle) > 0; i++) {
        if (text_equals(field_data(journal, "COREDUMP_FILENAME"), name)) {
            read_entry(journal, record);
            return true;
        }
        if (!is_found)
            read_entry(journal, &last);
        is_found = true;
    }
    /* Of another process that had the id at another time, or of another program. */
    bool is_other = (record->microseconds != 0 && record->microseconds != last.microseconds) ||
                    (record->exe.length != 0 && !text_equals(record->exe, last.exe));
    if (!is_found || is_other)
        return false;
    last.signal = record->signal != 0 ? record->signal : last.signal;
    set_text(&last.host, record->host);
    *record = last;
    return true;
}

static bool is_kept_by_systemd(const char *path, const struct core_record *record)
{
    char resolved[PATH_MAX];
    struct text name = text_from_string(realpath(path, resolved) == NULL ? path : resolved);
    return record->pid != 0 || text_starts_with(name, TEXT("/var/lib/systemd/coredump/")) ||
           text_starts_with(text_basename(name), TEXT("coredump-"));
}

/* NULL, or why the journal tells nothing. */
static const char *ask_journal(struct journal *journal, const char *path, const char *folder, uint32_t pid,
                               struct core_record *record)
{
    if (!journal_load(journal))
        return "libsystemd.so.0, which reads it, is not there";
    int opened =
        folder != NULL ? journal->open_directory(&journal->handle, folder, 0) : journal->open(&journal->handle, 0);
    bool is_told = opened >= 0 && read_journal(journal, path, record->pid != 0 ? record->pid : pid, record);
    if (opened >= 0)
        journal->close(journal->handle);
    dlclose(journal->library);
    return opened < 0 ? strerror(-opened) : is_told ? NULL : "no entry about this core could be read";
}

void core_record_read(const char *path, const char *journal_folder, uint32_t pid, struct arena *arena,
                      struct diagnostics *diagnostics, struct core_record *ret_record)
{
    /* Eight fields of two entries: the first of the process, and that of the file. */
    enum { fields_bytes = 2 * 8 * PATH_MAX };
    struct journal journal;
    *ret_record = (struct core_record){0};
    read_attributes(path, arena, ret_record);
    if (journal_folder == NULL && !is_kept_by_systemd(path, ret_record))
        return;
    char *fields = arena_alloc(arena, fields_bytes, 1);
    journal.next = fields;
    journal.end = fields + fields_bytes;
    const char *fault = ask_journal(&journal, path, journal_folder, pid, ret_record);
    /* The system's journal is asked unbidden. */
    if (fault != NULL && journal_folder != NULL)
        diagnostics_add(diagnostics, DIAGNOSTIC_NOTE, "journal-unread", text_from_string(journal_folder),
                        "%s: journal: %s; when and where the program ended is known from the core's attributes at most",
                        journal_folder, fault);
}
