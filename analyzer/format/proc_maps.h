/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of /proc/PID/maps: proc_pid_maps(5), kernel fs/proc/task_mmu.c, show_map_vma. */
#ifndef SG_FORMAT_PROC_MAPS_H
#define SG_FORMAT_PROC_MAPS_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

struct proc_map {
    uint64_t start, end;
    uint64_t file_offset; /* bytes */
    uint64_t inode;       /* 0: no file */
    uint8_t access;       /* 4 read, 2 write, 1 execute, as PF_R, PF_W, PF_X */
    struct text path;     /* as it stands there: "[stack]", "/lib/x.so (deleted)", "" ; a newline in it is \012 */
};

/* Takes the next line off `rest`. False at the end; lines that are no map are passed over. */
bool proc_map_next(struct text *rest, struct proc_map *ret_map);

#endif
