/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int file_open_regular(const char *path, uint64_t *ret_size_bytes)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -1;
    struct stat status;
    int failed = 0;
    if (fstat(fd, &status) != 0)
        failed = errno;
    else if (S_ISDIR(status.st_mode))
        failed = EISDIR;
    else if (!S_ISREG(status.st_mode))
        failed = EINVAL;
    if (failed != 0) {
        close(fd);
        errno = failed;
        return -1;
    }
    *ret_size_bytes = (uint64_t)status.st_size;
    return fd;
}

int file_map_descriptor(int fd, uint64_t size_bytes, struct file_mapping *ret_mapping)
{
    void *bytes = NULL;
    if (size_bytes != 0) {
        bytes = mmap(NULL, size_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED)
            return errno;
    }
    *ret_mapping = (struct file_mapping){fd, bytes, (size_t)size_bytes};
    return 0;
}

int file_map(const char *path, struct file_mapping *ret_mapping)
{
    uint64_t size_bytes;
    int fd = file_open_regular(path, &size_bytes);
    if (fd < 0)
        return errno;
    int failed = file_map_descriptor(fd, size_bytes, ret_mapping);
    if (failed != 0)
        close(fd);
    return failed;
}

void file_unmap(struct file_mapping *mapping)
{
    if (mapping->bytes != NULL)
        munmap((void *)mapping->bytes, mapping->size_bytes);
    if (mapping->fd >= 0)
        close(mapping->fd);
    *mapping = (struct file_mapping){.fd = -1};
}

struct pages {
    uint8_t *start;
    size_t size_bytes;
};

static void drop_pages(struct worker *worker, void *context)
{
    const struct pages *pages = context;
    (void)worker;
    madvise(pages->start, pages->size_bytes, MADV_DONTNEED);
}

void file_drop_pages(const struct file_mapping *mapping, struct worker *worker)
{
    enum { worthwhile_bytes = 64 << 20, table_bytes = 2 << 20 }; /* halves share no page table */
    if (mapping->bytes == NULL || mapping->size_bytes < worthwhile_bytes)
        return;
    uint8_t *start = (uint8_t *)mapping->bytes;
    uint8_t *middle = start + mapping->size_bytes / 2;
    middle -= (uintptr_t)middle % table_bytes;
    struct pages first = {start, (size_t)(middle - start)}, second = {middle, mapping->size_bytes - first.size_bytes};
    if (!worker_start(worker, drop_pages, &second))
        return;
    drop_pages(worker, &first);
    worker_wait(worker);
}
