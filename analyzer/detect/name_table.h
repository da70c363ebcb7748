/* SPDX-License-Identifier: Apache-2.0 */
/* The distinct names of one kind in a snapshot (functions, files, modules …), and which of them an expression matches.
 * An expression is tried once a name, whoever stands in it; names without one of its literals are not tried at all. */
#ifndef SG_DETECT_NAME_TABLE_H
#define SG_DETECT_NAME_TABLE_H

#include "base/pattern.h"
#include "model/snapshot.h"

enum name_kind { NAME_FUNCTION, NAME_FILE, NAME_MODULE, NAME_STATE, NAME_CREATOR, NAME_KIND_COUNT };

enum { name_gram_words = 1024 }; /* 65,536 bits */

struct name_table {
    bool is_made;
    uint32_t count;
    uint32_t *numbers; /* by string (of modules by module): the name's number, index_none */
    char *bytes;       /* all names, each followed by a NUL */
    uint32_t *starts;  /* by number: into bytes; [count] is their end */
    uint64_t grams[name_gram_words]; /* hashes of three bytes in a row that occur */
};

/* Of functions and creators the names are normalised (base/name.h). */
void name_table_make(struct name_table *table, const struct snapshot *snapshot, enum name_kind kind, struct arena *arena);

struct name_matches {
    bool is_made;
    bool limit_hit;  /* a match was broken off, and counts as none */
    uint64_t *names; /* a bit a name; NULL: it matches none */
};

void name_matches_make(struct name_matches *matches, const struct name_table *table, struct pattern *pattern,
                       const struct text *literals, size_t literal_count, struct arena *arena);

static inline struct text name_table_text(const struct name_table *table, uint32_t number)
{
    return (struct text){table->bytes + table->starts[number], table->starts[number + 1] - table->starts[number] - 1};
}

static inline bool name_matches_has(const struct name_matches *matches, const struct name_table *table, uint32_t string)
{
    uint32_t number = matches->names == NULL ? index_none : table->numbers[string];
    return number != index_none && (matches->names[number / 64] >> number % 64 & 1) != 0;
}

#endif
