/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc tells of descriptors beside the sockets' tables: the link /proc/PID/fd/N, /proc/PID/fdinfo/N of an epoll
 * set, /proc/PID/limits. proc_pid_fd(5), proc_pid_fdinfo(5), proc_pid_limits(5). */
#ifndef SG_FORMAT_PROC_FD_H
#define SG_FORMAT_PROC_FD_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

enum descriptor_kind {
    DESCRIPTOR_UNKNOWN,
    DESCRIPTOR_SOCKET,
    DESCRIPTOR_PIPE,
    DESCRIPTOR_FILE, /* whatever has a path, devices and folders too */
    DESCRIPTOR_EPOLL,
    DESCRIPTOR_EVENTFD,
    DESCRIPTOR_TIMERFD,
    DESCRIPTOR_SIGNALFD,
    DESCRIPTOR_INOTIFY,
    DESCRIPTOR_OTHER,
    DESCRIPTOR_KIND_COUNT,
};

/* "socket", "pipe", "file", "epoll", …, "unknown". */
const char *descriptor_kind_name(enum descriptor_kind kind);

struct fd_link {
    enum descriptor_kind kind;
    uint64_t inode;   /* of sockets and pipes, else 0 */
    struct text name; /* a file's path; what the kernel calls others, "[io_uring]"; "" of the other kinds */
};

/* Of any text: what is no "socket:[N]" and the like is DESCRIPTOR_OTHER with all of it as its name. */
struct fd_link fd_link_parse(struct text link);

/* Whether the line of an fdinfo file names a watched descriptor ("tfd:"). */
bool fdinfo_line_is_watch(struct text line);

/* The limits in the line "Max open files". False when the soft one is "unlimited" or there is no such line; the hard one
 * is 0 when it is. */
bool proc_limits_open_files(struct text limits, uint64_t *ret_soft, uint64_t *ret_hard);

#endif
