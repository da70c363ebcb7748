/* SPDX-License-Identifier: Apache-2.0 */
#include "output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char suffix[] = ".XXXXXX";

/* The report's and the saved core's; an empty name is free. */
static char temporaries[2][4096];

int output_file_open(struct output_file *file, const char *path, unsigned mode)
{
    struct stat status;
    *file = (struct output_file){.path = path, .fd = STDOUT_FILENO};
    if (path == NULL)
        return 0;
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode)) {
        file->fd = open(path, O_WRONLY | O_CLOEXEC);
        return file->fd < 0 ? errno : 0;
    }
    char *temporary = temporaries[0][0] == 0 ? temporaries[0] : temporaries[1];
    char *target = realpath(path, NULL); /* a link stays a link */
    int length = snprintf(temporary, sizeof temporaries[0], "%s%s", target != NULL ? target : path, suffix);
    free(target);
    file->fd = -1;
    if (length < 0 || (size_t)length >= sizeof temporaries[0])
        errno = ENAMETOOLONG;
    else
        file->fd = mkostemp(temporary, O_CLOEXEC);
    if (file->fd < 0) {
        temporary[0] = 0;
        return errno;
    }
    mode_t mask = umask(0);
    umask(mask);
    fchmod(file->fd, mode & ~mask);
    file->temporary = temporary;
    return 0;
}

int output_file_close(struct output_file *file, bool good)
{
    int failed = 0;
    if (file->path == NULL)
        return 0;
    if (close(file->fd) != 0)
        failed = errno;
    file->fd = -1;
    if (file->temporary == NULL)
        return failed;
    char target[sizeof temporaries[0]];
    memcpy(target, file->temporary, sizeof target);
    target[strlen(target) - strlen(suffix)] = 0;
    if (good && failed == 0 && rename(file->temporary, target) != 0)
        failed = errno;
    if (!good || failed != 0)
        unlink(file->temporary);
    file->temporary[0] = 0;
    file->temporary = NULL;
    return failed;
}

void output_file_remove_all(void)
{
    for (size_t i = 0; i < sizeof temporaries / sizeof temporaries[0]; i++)
        if (temporaries[i][0] != 0)
            unlink(temporaries[i]);
}
