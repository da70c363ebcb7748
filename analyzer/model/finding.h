/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong, with its proof: the verdicts of detect/ as plain data. Everything a report needs stands here or in the
 * snapshot and grouping that the indices point into. Const after detecting. */
#ifndef SG_MODEL_FINDING_H
#define SG_MODEL_FINDING_H

#include "model/grouping.h"

enum severity { SEVERITY_UNKNOWN, SEVERITY_INFO, SEVERITY_WARNING, SEVERITY_CRITICAL };

/* The weakest link of the proof: suspected (text alone, or threads read at different instants), inferred (stacks say
 * so), read (memory or the dump says so). */
enum confidence { CONFIDENCE_UNKNOWN, CONFIDENCE_SUSPECTED, CONFIDENCE_INFERRED, CONFIDENCE_READ };

/* Members of one group that take part, and as what. */
struct finding_group {
    uint32_t group;   /* into grouping.groups, hidden ones too */
    uint64_t members; /* of it that take part */
    const char *role; /* "waits", "holds", "holds and waits", "creates" … */
};

/* One edge of the wait-for graph. */
struct finding_edge {
    uint32_t waiter;    /* into snapshot.members */
    uint32_t resource;  /* into snapshot.resources */
    uint32_t holder;    /* into snapshot.members; index_none: unknown */
    enum learnt learnt; /* the weaker of wait and hold */
    struct text call_site; /* the waiter's first function outside the waiting machinery, "f at file:line" where the line
                              is known; "" unknown */
};

/* A closed walk: edges[edge_first] … in order, the last one's holder is the first one's waiter. */
struct finding_cycle {
    uint32_t edge_first, edge_count; /* into finding.edges */
};

struct finding_key {
    const char *name;  /* a capture's name, "resource", "function", "creator" … */
    struct text value;
};

struct finding {
    struct text rule;      /* "plugin/rule" */
    enum severity severity;
    enum confidence confidence;
    struct text title;     /* one sentence, no final stop */
    uint64_t members;      /* that are blocked, or counted */
    struct text *evidence; /* sentences, the strongest first */
    size_t evidence_count;
    struct finding_group *groups;
    size_t group_count;
    struct finding_edge *edges;
    size_t edge_count;
    struct finding_cycle *cycles;
    size_t cycle_count;
    struct finding_key *keys;
    size_t key_count;
    struct text advice;    /* lines; "" none */
    struct text runbook;   /* the page's file name; "" none */
    struct text runbook_path; /* where it is, for a user's plugin; "" for those that are built in */
};

/* By severity, then by members, then by rule and title: the order in which they are shown. */
struct findings {
    struct finding *entries;
    size_t count, capacity;
};

/* "critical"; "inferred". */
const char *severity_name(enum severity severity);
const char *confidence_name(enum confidence confidence);

#endif
