/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for what, who has it: one row of a group in words. As report_facts.h: safe for terminals, one line. */
#ifndef SG_REPORT_REPORT_WAITS_H
#define SG_REPORT_REPORT_WAITS_H

#include "report/report.h"

/* The weakest of what the row and the resource's holds rest on. */
enum learnt resource_wait_learnt(const struct snapshot *snapshot, const struct resource_wait *row);

/* "40 on mutex 0x55d0c0 (orders_lock), held by thread 4711 (read)", for `count` of its members: what source_text reads
 * back. */
void report_write_resource_wait(struct text_writer *writer, const struct snapshot *snapshot,
                                const struct resource_wait *row, uint64_t count);

/* "40 on mutex orders_lock, held by thread 4711 (fsync, g3)": the holder's state and where to find it. How it was learnt
 * is told only where it was not read. */
void report_write_resource_wait_short(struct text_writer *writer, const struct report_input *input,
                                      const struct resource_wait *row);

/* Whether the row says no more than the goroutines' wait reason does: any channel, any select … */
bool resource_wait_is_in_state(const struct report_input *input, const struct group *group,
                               const struct resource_wait *row);

/* "g3", as JSON calls it too; of a hidden group, which has no number on the screen, "ed7344d4 (hidden)". */
void report_write_group_name(struct text_writer *writer, const struct report_input *input, uint32_t group);

#endif
