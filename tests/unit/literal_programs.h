/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots that several report tests show. */
#ifndef SG_TESTS_LITERAL_PROGRAMS_H
#define SG_TESTS_LITERAL_PROGRAMS_H

#include "literal_snapshot.h"

/* A server that died of SIGSEGV in one thread, forty that wait for a mutex, one that was walked by frame pointers into
 * code without a name, and losses of each weight. */
void literal_server(struct literal *literal);

/* Names, paths and arguments that hold escapes, line breaks and bytes that are not UTF-8. */
void literal_hostile(struct literal *literal);

/* A live server with connections: threads that read them, each its own, on one stack; others on pipes, files and an epoll
 * set; more classes of sockets than the head shows. */
void literal_connections(struct literal *literal);

/* Two threads that wait for each other's account, forty behind a log's lock whose holder stands in fsync, others at
 * everything else that can be waited for; and findings about them, of each severity. */
void literal_deadlock(struct literal *literal);

/* One stack of that many calls of one function. */
void literal_recursion(struct literal *literal, uint32_t depth);

#endif
