/* SPDX-License-Identifier: Apache-2.0 */
/* A rule's text applied to a snapshot whose stacks are written down as calls, for tests of detectors. */
#ifndef SG_TESTS_LITERAL_RULES_H
#define SG_TESTS_LITERAL_RULES_H

#include "detect/detect.h"
#include "literal_snapshot.h"

struct rules_test {
    struct literal literal;
    struct arena scratch;
    struct grouping grouping;
    struct rule_set *set;
    struct findings findings;
};

void rules_test_init(struct rules_test *test);
void rules_test_deinit(struct rules_test *test);

/* `count` members in one stack: calls are "function file:line" or "function", leaf first, separated by " < ". A line of
 * its own has its own offset, 16 times the line. The member stands for all, without an id. */
struct member *rules_test_mass(struct rules_test *test, uint32_t count, const char *state, const char *calls);
/* Names a resource that the member added last waits for. */
void rules_test_wait(struct rules_test *test, enum wait_kind kind, uint64_t address);

/* Parses the rules (what stands below `rules:`) and applies them; ends the test when they have errors. Waiting
 * machinery is pthread_cond_wait and read. */
void rules_test_run(struct rules_test *test, const char *rules);

/* The value of a key of the finding; "" when it has none. */
const char *rules_test_key(const struct rules_test *test, size_t finding, const char *name);
/* Whether a sentence of the finding's evidence holds these words. */
bool rules_test_says(const struct rules_test *test, size_t finding, const char *words);
/* Members of the finding that take part in this role. */
uint64_t rules_test_role(const struct rules_test *test, size_t finding, const char *role);
/* All that the findings say, for a failing test's reader. */
void rules_test_print(const struct rules_test *test);

#endif
