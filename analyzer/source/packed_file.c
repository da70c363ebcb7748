/* SPDX-License-Identifier: Apache-2.0 */
#include "source/packed_file.h"

#include "base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lz4frame.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum { output_bytes = 1 << 20, input_bytes = 1 << 20, block_bytes = 4096 };

/* Memory that a stream may ask for, by its own header: xz -9 takes 64 MiB, zstd --long=30 a GiB. */
enum { window_bytes_max = 1 << 30, window_log_max = 30 };

struct unpacking {
    const uint8_t *input;
    size_t input_left;
    uint8_t *output;
    size_t output_used; /* of output_bytes, by the last step */
    bool ended;         /* the stream is whole; more may follow it */
    void *state;
};

/* A kind of packed file. step: takes some input, makes some output; false when the bytes are no such stream. */
struct unpacker {
    const char *name, *magic;
    void *(*open)(void);
    bool (*step)(struct unpacking *unpacking);
    void (*close)(void *state);
};

static void *zstd_open(void)
{
    ZSTD_DStream *stream = ZSTD_createDStream();
    if (stream != NULL)
        ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, window_log_max);
    return stream;
}

static bool zstd_step(struct unpacking *unpacking)
{
    ZSTD_inBuffer in = {unpacking->input, unpacking->input_left, 0};
    ZSTD_outBuffer out = {unpacking->output, output_bytes, 0};
    size_t result = ZSTD_decompressStream(unpacking->state, &out, &in);
    unpacking->input += in.pos;
    unpacking->input_left -= in.pos;
    unpacking->output_used = out.pos;
    unpacking->ended = result == 0;
    return !ZSTD_isError(result);
}

static void zstd_close(void *state)
{
    ZSTD_freeDStream(state);
}

static void *xz_open(void)
{
    lzma_stream *stream = calloc(1, sizeof *stream);
    if (stream != NULL && lzma_stream_decoder(stream, window_bytes_max, LZMA_CONCATENATED) != LZMA_OK) {
        free(stream);
        return NULL;
    }
    return stream;
}

static bool xz_step(struct unpacking *unpacking)
{
    lzma_stream *stream = unpacking->state;
    stream->next_in = unpacking->input;
    stream->avail_in = unpacking->input_left;
    stream->next_out = unpacking->output;
    stream->avail_out = output_bytes;
    lzma_ret result = lzma_code(stream, LZMA_RUN);
    /* With concatenated streams the end is told only to who says that no more comes. */
    if (result == LZMA_OK && stream->avail_in == 0 && stream->avail_out != 0)
        result = lzma_code(stream, LZMA_FINISH);
    unpacking->input = stream->next_in;
    unpacking->input_left = stream->avail_in;
    unpacking->output_used = output_bytes - stream->avail_out;
    unpacking->ended = result == LZMA_STREAM_END;
    return result == LZMA_OK || result == LZMA_STREAM_END || result == LZMA_BUF_ERROR;
}

static void xz_close(void *state)
{
    lzma_end(state);
    free(state);
}

static void *lz4_open(void)
{
    LZ4F_dctx *context;
    return LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)) ? NULL : context;
}

static bool lz4_step(struct unpacking *unpacking)
{
    size_t taken = unpacking->input_left, made = output_bytes;
    size_t result = LZ4F_decompress(unpacking->state, unpacking->output, &made, unpacking->input, &taken, NULL);
    if (LZ4F_isError(result))
        return false;
    unpacking->input += taken;
    unpacking->input_left -= taken;
    unpacking->output_used = made;
    unpacking->ended = result == 0;
    return true;
}

static void lz4_close(void *state)
{
    LZ4F_freeDecompressionContext(state);
}

static void *gzip_open(void)
{
    z_stream *stream = calloc(1, sizeof *stream);
    if (stream != NULL && inflateInit2(stream, 16 + MAX_WBITS) != Z_OK) {
        free(stream);
        return NULL;
    }
    return stream;
}

static bool gzip_step(struct unpacking *unpacking)
{
    z_stream *stream = unpacking->state;
    size_t offered = unpacking->input_left < input_bytes ? unpacking->input_left : input_bytes;
    if (unpacking->ended && inflateReset(stream) != Z_OK) /* the next member */
        return false;
    stream->next_in = (Bytef *)unpacking->input;
    stream->avail_in = (uInt)offered;
    stream->next_out = unpacking->output;
    stream->avail_out = output_bytes;
    int result = inflate(stream, Z_NO_FLUSH);
    unpacking->input += offered - stream->avail_in;
    unpacking->input_left -= offered - stream->avail_in;
    unpacking->output_used = output_bytes - stream->avail_out;
    unpacking->ended = result == Z_STREAM_END;
    return result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR;
}

static void gzip_close(void *state)
{
    inflateEnd(state);
    free(state);
}

static const struct unpacker unpackers[] = {
    {"zstd", "\x28\xb5\x2f\xfd", zstd_open, zstd_step, zstd_close},
    {"xz",
     "\xfd"
     "7zXZ",
     xz_open, xz_step, xz_close},
    {"lz4", "\x04\x22\x4d\x18", lz4_open, lz4_step, lz4_close},
    {"gzip", "\x1f\x8b", gzip_open, gzip_step, gzip_close},
};

static const struct unpacker *find_unpacker(const uint8_t *bytes, size_t size_bytes)
{
    for (size_t i = 0; i < sizeof unpackers / sizeof unpackers[0]; i++) {
        size_t length = strlen(unpackers[i].magic);
        if (size_bytes >= length && memcmp(bytes, unpackers[i].magic, length) == 0)
            return &unpackers[i];
    }
    return NULL;
}

const char *packed_file_kind(const uint8_t *bytes, size_t size_bytes)
{
    const struct unpacker *unpacker = find_unpacker(bytes, size_bytes);
    return unpacker == NULL ? NULL : unpacker->name;
}

static const char *temporary_folder(void)
{
    const char *folder = getenv("TMPDIR");
    return folder != NULL && folder[0] == '/' ? folder : "/var/tmp";
}

static int open_nameless(const char *folder)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s/stackgroup-XXXXXX", folder) >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

static bool is_zero_block(const uint8_t *bytes, size_t size_bytes, size_t at)
{
    size_t length = size_bytes - at < block_bytes ? size_bytes - at : block_bytes;
    return bytes[at] == 0 && memcmp(bytes + at, bytes + at + 1, length - 1) == 0;
}

/* Blocks of zeros are left out: the file's holes read as such. */
static bool write_blocks(int fd, const uint8_t *bytes, size_t size_bytes, uint64_t offset)
{
    for (size_t at = 0; at < size_bytes;) {
        size_t end = at;
        while (end < size_bytes && !is_zero_block(bytes, size_bytes, end))
            end += block_bytes;
        for (size_t stop = end < size_bytes ? end : size_bytes; at < stop;) {
            ssize_t written = pwrite(fd, bytes + at, stop - at, (off_t)(offset + at));
            if (written < 0 && errno == EINTR)
                continue;
            if (written < 0)
                return false;
            at += (size_t)written;
        }
        while (end < size_bytes && is_zero_block(bytes, size_bytes, end))
            end += block_bytes;
        at = end;
    }
    return true;
}

/* Room that is left to others on the disk: a tenth of what is free before, up to a gibibyte. A file of some KB can be
 * unpacked to more than any disk has. */
static const uint64_t room_kept_max = (uint64_t)1 << 30;

static uint64_t room_left(int fd)
{
    struct statvfs disk;
    return fstatvfs(fd, &disk) != 0 ? UINT64_MAX : (uint64_t)disk.f_bavail * disk.f_frsize;
}

struct outcome {
    uint64_t taken, made; /* bytes of the packed and of the unpacked file */
    uint64_t room_kept;   /* on the disk */
    bool is_full;         /* no more was left there */
    const char *fault;    /* why the rest is missing, NULL: it is whole */
};

static struct outcome unpack_stream(const struct unpacker *unpacker, struct unpacking *unpacking, int fd,
                                    struct packed_progress progress)
{
    uint64_t room = room_left(fd);
    struct outcome outcome = {.room_kept = room / 10 < room_kept_max ? room / 10 : room_kept_max};
    size_t total = unpacking->input_left;
    while (unpacking->input_left != 0 || !unpacking->ended) {
        size_t before = unpacking->input_left;
        if (progress.tell != NULL)
            progress.tell(progress.context, "unpacking", total - unpacking->input_left, total);
        unpacking->output_used = 0;
        bool good = unpacker->step(unpacking);
        if (unpacking->output_used != 0) {
            if (!write_blocks(fd, unpacking->output, unpacking->output_used, outcome.made)) {
                outcome.fault = strerror(errno);
                break;
            }
            outcome.made += unpacking->output_used;
            outcome.is_full = room_left(fd) < outcome.room_kept;
        }
        if (outcome.is_full)
            outcome.fault = "no more room";
        else if (!good)
            outcome.fault = outcome.made != 0 && unpacking->ended ? "other bytes follow the packed ones" : "damaged";
        else if (outcome.made > limit_unpacked_bytes)
            outcome.fault = "larger than what is unpacked at most";
        else if (unpacking->input_left == before && unpacking->output_used == 0 && !unpacking->ended)
            outcome.fault = "cut: it ends within the packed bytes";
        if (outcome.fault != NULL)
            break;
    }
    return outcome;
}

/* Into the nameless file; the input is let go of. */
static struct outcome unpack_file(struct file_mapping *packed, const struct unpacker *unpacker, int fd,
                                  struct packed_progress progress)
{
    struct unpacking unpacking = {.input = packed->bytes, .input_left = packed->size_bytes};
    struct outcome outcome = {.fault = strerror(ENOMEM)};
    unpacking.output = malloc(output_bytes);
    unpacking.state = unpacker->open();
    if (unpacking.output != NULL && unpacking.state != NULL)
        outcome = unpack_stream(unpacker, &unpacking, fd, progress);
    if (unpacking.state != NULL)
        unpacker->close(unpacking.state);
    free(unpacking.output);
    outcome.taken = packed->size_bytes - unpacking.input_left;
    file_unmap(packed);
    return outcome;
}

const struct error *packed_file_unpack(const char *path, struct packed_progress progress, struct arena *arena,
                                       struct diagnostics *diagnostics, struct file_mapping *ret_mapping)
{
    struct file_mapping packed;
    *ret_mapping = (struct file_mapping){.fd = -1};
    if (file_map(path, &packed) != 0)
        return NULL; /* who reads it says so */
    const struct unpacker *unpacker = find_unpacker(packed.bytes, packed.size_bytes);
    if (unpacker == NULL) {
        file_unmap(&packed);
        return NULL;
    }
    const char *folder = temporary_folder();
    ret_mapping->fd = open_nameless(folder);
    if (ret_mapping->fd < 0) {
        int failed = errno;
        file_unmap(&packed);
        return error_new(arena, ERROR_OPEN,
                         "%s: packed with %s; %s, where it would be unpacked to (TMPDIR names another folder): %s",
                         path, unpacker->name, folder, strerror(failed));
    }
    struct outcome outcome = unpack_file(&packed, unpacker, ret_mapping->fd, progress);
    if (outcome.is_full)
        outcome.fault = arena_printf(
            arena, "%s has no more room, the last %" PRIu64 " MiB are left to others (TMPDIR names another folder),",
            folder, outcome.room_kept >> 20);
    if (outcome.made == 0)
        return error_new(arena, outcome.is_full ? ERROR_OPEN : ERROR_FORMAT,
                         "%s: packed with %s: %s at offset 0x%" PRIx64 ": nothing could be unpacked", path,
                         unpacker->name, outcome.fault == NULL ? "empty" : outcome.fault, outcome.taken);
    int failed = ftruncate(ret_mapping->fd, (off_t)outcome.made) != 0
                     ? errno
                     : file_map_descriptor(ret_mapping->fd, outcome.made, ret_mapping);
    if (failed != 0)
        return error_new(arena, ERROR_OPEN, "%s: unpacked to %s: %s", path, folder, strerror(failed));
    if (outcome.fault != NULL)
        diagnostics_add(diagnostics, DIAGNOSTIC_LOSS, "unpacked-in-part", text_from_string(path),
                        "%s: packed with %s: %s at offset 0x%" PRIx64 "; the first %" PRIu64 " unpacked bytes are read",
                        path, unpacker->name, outcome.fault, outcome.taken, outcome.made);
    return NULL;
}
