/* SPDX-License-Identifier: Apache-2.0 */
/* The "#" lines that stackgroup adds to debug=1 text (report/report_text.c, report/report_facts.h), read back: what a
 * group's members are, what they do and wait for. The lines with counts, addresses and frames are those of
 * format/goroutine_text.h. Texts are runs of the input; bytes that were escaped stay so. */
#ifndef SG_FORMAT_THREAD_TEXT_H
#define SG_FORMAT_THREAD_TEXT_H

#include "format/goroutine_text.h"

enum thread_comment_kind {
    THREAD_COMMENT_OTHER,
    /* Before the groups. */
    THREAD_COMMENT_SIGNAL,  /* `text` follows "signal: " */
    THREAD_COMMENT_PROCESS, /* … "process: " */
    THREAD_COMMENT_TOTALS,  /* `count` members the source spoke of, 0 not told */
    THREAD_COMMENT_NUMBERS, /* addresses only tell places apart */
    THREAD_COMMENT_LOST,    /* diagnostics of three weights: the message; `name` is the code */
    THREAD_COMMENT_LOSS,
    THREAD_COMMENT_NOTE,
    /* Of a group. */
    THREAD_COMMENT_SIGNALLED, /* `id`, 0 not told */
    THREAD_COMMENT_STATE,     /* `text`: "futex wait (34), read fd 7 (5)" */
    THREAD_COMMENT_MEMBERS,   /* `text`: ids; `count` further ones are not listed */
    THREAD_COMMENT_MEMBER,    /* `id`, `name`, `text`: its state */
    THREAD_COMMENT_WAITS,     /* `text`, for thread_waits_parse */
    THREAD_COMMENT_WAITING,   /* all members, for `count` seconds at least */
    THREAD_COMMENT_CREATED,   /* `text` follows "created by " */
    THREAD_COMMENT_END,       /* `text`: the reason; `address`, 0 none */
    THREAD_COMMENT_TRUST,     /* `text`: how `count` frames from the one at `address` on were found */
};

struct thread_comment {
    enum thread_comment_kind kind;
    struct text text, name;
    uint64_t id, count, address;
};

/* `comment` is what follows "# ". */
struct thread_comment thread_comment_parse(struct text comment);

/* The next of "4711 4712". False at the end. */
bool thread_id_next(struct text *ids, uint64_t *ret_id);

/* "futex wait" or "read fd 7": the descriptor is taken off a state that is one alone; -1 none. */
struct text thread_state_split(struct text state, int32_t *ret_fd);

enum thread_holder {
    THREAD_HOLDER_NONE, /* kinds that nobody holds */
    THREAD_HOLDER_UNKNOWN,
    THREAD_HOLDER_MEMBERS,   /* `holders` */
    THREAD_HOLDER_READERS,   /* `holder_count`, not known by whom */
    THREAD_HOLDER_ENDED,     /* `holder_id` */
    THREAD_HOLDER_ELSEWHERE, /* `holder_id` */
    THREAD_HOLDER_FREE,
};

/* "2 on mutex 0x55d0c0 (orders_lock) to write, held by thread 4711 (read): 4712 4713 … (+4)" */
struct thread_waits {
    uint64_t count;
    struct text kind; /* the word of wait_kind_name */
    uint64_t address; /* 0 not told */
    struct text name; /* "" none */
    bool to_read, to_write;
    enum thread_holder holder;
    struct text holders; /* ids, for thread_id_next */
    uint64_t holder_count, holder_id;
    struct text learnt; /* the word of learnt_name, "" not told */
    struct text ids;    /* of the waiters, for thread_id_next */
    uint64_t more;      /* waiters whose id is not listed */
};

bool thread_waits_parse(struct text text, struct thread_waits *ret_waits);

#endif
