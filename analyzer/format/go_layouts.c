/* SPDX-License-Identifier: Apache-2.0 */
#include "format/go_layouts.h"

#include <stddef.h>

/* Each table: rows by the first release that has them, the newest first. */
static const struct {
    unsigned minor;
    struct go_g_layout g;
} g_rows[] = {
    /*    lr  bp   sp   pc   status id wait_since reason locked parent go_pc start waiting labels bubble size */
    {26, {88, 96, 104, 112, 144, 152, 168, 176, 208, 280, 288, 304, 320, 352, 392, 400}},
    {25, {88, 96, 104, 112, 144, 152, 168, 176, 208, 272, 280, 296, 312, 344, 384, 392}},
    {24, {96, 104, 112, 120, 152, 160, 176, 184, 216, 280, 288, 304, 320, 352, 392, 400}},
    {23, {96, 104, 112, 120, 152, 160, 176, 184, 216, 280, 288, 304, 320, 352, -1, 360}},
    {21, {96, 104, 112, 120, 144, 152, 168, 176, 208, 272, 280, 296, 312, 344, -1, 352}},
    {17, {96, 104, 112, 120, 144, 152, 168, 176, 232, -1, 296, 312, 328, 360, -1, 368}},
    {13, {96, 104, 112, 120, 144, 152, 168, 176, 216, -1, 280, 296, 312, 344, -1, 352}},
};

static const struct {
    unsigned minor;
    struct go_m_layout m;
} m_rows[] = {
    {26, {0, 64, 72, 184, 232, 896, 208}},  {25, {0, 64, 72, 184, 224, 896, 200}},
    {23, {0, 72, 80, 192, 232, 880, 208}},  {22, {0, 72, 80, 192, 232, 1120, 208}},
    {21, {0, 72, 80, 192, 232, 808, 208}},  {18, {0, 72, 80, 192, 232, 800, 208}},
    {17, {0, 72, 80, 192, 232, 832, 208}},  {16, {0, 72, 80, 192, 232, 824, 208}},
    {15, {0, 72, 80, 192, 232, 800, 208}},  {14, {0, 72, 80, 192, 232, 808, 208}},
    {13, {0, 72, 80, 192, 232, 816, 208}},
};

static const struct {
    unsigned minor;
    struct go_sudog_layout sudog;
} sudog_rows[] = {
    /* 1.26 keeps element and channel twice, for the collector and as plain words; the words are what holds. */
    {26, {0, 8, 16, 32, 60, 72, 96, 104}},
    {15, {0, 8, 16, 24, 52, 64, 80, 88}},
    {13, {0, 16, 24, 32, 8, 72, 88, 96}},
};

static const struct {
    unsigned minor;
    struct go_channel_layout channel;
} channel_rows[] = {
    {23, {0, 8, 24, 28, 40, 64, 80, 96}},
    {13, {0, 8, 24, 28, 32, 56, 72, 88}},
};

static const struct {
    unsigned minor;
    struct go_module_layout module;
} module_rows[] = {
    /*   names units files pc_values records functions min_pc text noptrdata data bss noptrbss types funcdata sections */
    {27, {8, 32, 56, 80, 104, 128, 160, 176, 192, 208, 224, 240, 296, 344, 360, -1, 384}},
    {26, {8, 32, 56, 80, 104, 128, 160, 176, 192, 208, 224, 240, 296, 320, 336, 584, 592}},
    {23, {8, 32, 56, 80, 104, 128, 160, 176, 192, 208, 224, 240, 296, 320, 328, 576, 584}},
    {21, {8, 32, 56, 80, 104, 128, 160, 176, 192, 208, 224, 240, 296, 320, 328, 584, 592}},
    {20, {8, 32, 56, 80, 104, 128, 160, 176, 192, 208, 224, 240, 296, 320, 328, 560, 568}},
    {18, {8, 32, 56, 80, 104, 128, 160, 176, 192, 208, 224, 240, 280, 304, 312, 544, 552}},
    {16, {8, 32, 56, 80, 104, 128, 160, 176, 192, 208, 224, 240, 280, -1, 296, 528, 536}},
    {13, {-1, -1, 48, -1, 0, 24, 80, 96, 112, 128, 144, 160, 200, -1, 216, 448, 456}},
};

#define ROW_OF(rows, wanted, ret)                                                                                      \
    do {                                                                                                               \
        size_t at_ = 0;                                                                                                \
        while (at_ + 1 < sizeof(rows) / sizeof(rows)[0] && (wanted) < (rows)[at_].minor)                               \
            at_++;                                                                                                     \
        (ret) = at_;                                                                                                   \
    } while (0)

struct go_layout go_layout_of(unsigned minor)
{
    struct go_layout layout = {.minor = minor};
    size_t row;
    ROW_OF(g_rows, minor, row);
    layout.g = g_rows[row].g;
    ROW_OF(m_rows, minor, row);
    layout.m = m_rows[row].m;
    ROW_OF(sudog_rows, minor, row);
    layout.sudog = sudog_rows[row].sudog;
    ROW_OF(channel_rows, minor, row);
    layout.channel = channel_rows[row].channel;
    ROW_OF(module_rows, minor, row);
    layout.module = module_rows[row].module;
    return layout;
}

const char *go_status_name(uint32_t status)
{
    static const char *const names[GO_STATUS_COUNT] = {
        [GO_IDLE] = "idle",           [GO_RUNNABLE] = "runnable",   [GO_RUNNING] = "running",
        [GO_SYSCALL] = "syscall",     [GO_WAITING] = "waiting",     [GO_DEAD] = "dead",
        [GO_COPYSTACK] = "copystack", [GO_PREEMPTED] = "preempted", [GO_LEAKED] = "waiting",
        [GO_DEAD_EXTRA] = "waiting for cgo callback",
    };
    return status < GO_STATUS_COUNT ? names[status] : NULL;
}

/* runtime2.go's waitReasonStrings, by release. Runs that releases share stand once. */
static const char *const reasons_start[] = {
    "", "GC assist marking", "IO wait", "chan receive (nil chan)", "chan send (nil chan)", "dumping heap",
    "garbage collection", "garbage collection scan", "panicwait", "select", "select (no cases)", "GC assist wait",
    "GC sweep wait", "GC scavenge wait", "chan receive", "chan send", "finalizer wait", "force gc (idle)",
};
static const char *const reasons_1_13[] = {
    "semacquire", "sleep", "sync.Cond.Wait", "timer goroutine (idle)", "trace reader (blocked)", "wait for GC cycle",
    "GC worker (idle)", "preempted", "debug call",
};
static const char *const reasons_1_20[] = {
    "semacquire", "sleep", "sync.Cond.Wait", "sync.Mutex.Lock", "sync.RWMutex.RLock", "sync.RWMutex.Lock",
    "trace reader (blocked)", "wait for GC cycle", "GC worker (idle)", "GC worker (active)", "preempted", "debug call",
    "GC mark termination", "stopping the world", "flushing proc caches", "trace goroutine status", "trace proc status",
    "page trace flush", "coroutine", "GC weak to strong wait",
};
static const char *const reasons_1_24[] = {
    "semacquire", "sleep", "sync.Cond.Wait", "sync.Mutex.Lock", "sync.RWMutex.RLock", "sync.RWMutex.Lock",
    "sync.WaitGroup.Wait", "trace reader (blocked)", "wait for GC cycle", "GC worker (idle)", "GC worker (active)",
    "preempted", "debug call", "GC mark termination", "stopping the world", "flushing proc caches",
    "trace goroutine status", "trace proc status", "page trace flush", "coroutine", "GC weak to strong wait",
    "synctest.Run", "synctest.Wait", "chan receive (synctest)", "chan send (synctest)", "select (synctest)",
};
static const char *const reasons_1_25[] = {
    "GOMAXPROCS updater (idle)", "semacquire", "sleep", "sync.Cond.Wait", "sync.Mutex.Lock", "sync.RWMutex.RLock",
    "sync.RWMutex.Lock", "sync.WaitGroup.Wait",
};
static const char *const reasons_1_26[] = {
    "", "GC assist marking", "IO wait", "dumping heap", "garbage collection", "garbage collection scan", "panicwait",
    "GC assist wait", "GC sweep wait", "GC scavenge wait", "finalizer wait", "force gc (idle)",
    "GOMAXPROCS updater (idle)", "semacquire", "sleep", "chan receive (nil chan)", "chan send (nil chan)",
    "select (no cases)", "select", "chan receive", "chan send", "sync.Cond.Wait", "sync.Mutex.Lock",
    "sync.RWMutex.RLock", "sync.RWMutex.Lock", "sync.WaitGroup.Wait",
};
static const char *const reasons_end[] = { /* 1.25 and 1.26, from 26 on */
    "trace reader (blocked)", "wait for GC cycle", "GC worker (idle)", "GC worker (active)", "preempted", "debug call",
    "GC mark termination", "stopping the world", "flushing proc caches", "trace goroutine status", "trace proc status",
    "page trace flush", "coroutine", "GC weak to strong wait", "synctest.Run", "synctest.Wait",
    "chan receive (durable)", "chan send (durable)", "select (durable)", "sync.WaitGroup.Wait (durable)", "cleanup wait",
};

struct reason_run {
    const char *const *reasons;
    size_t count;
};
#define RUN(table) {table, sizeof(table) / sizeof(table)[0]}

const char *go_wait_reason(unsigned minor, uint8_t reason)
{
    static const struct {
        unsigned minor;
        struct reason_run runs[3];
    } tables[] = {
        {26, {RUN(reasons_1_26), RUN(reasons_end)}},
        {25, {RUN(reasons_start), RUN(reasons_1_25), RUN(reasons_end)}},
        {24, {RUN(reasons_start), RUN(reasons_1_24)}},
        {20, {RUN(reasons_start), RUN(reasons_1_20)}},
        {13, {RUN(reasons_start), RUN(reasons_1_13)}},
    };
    size_t row;
    ROW_OF(tables, minor, row);
    size_t left = reason;
    for (size_t i = 0; i < 3; i++) {
        const struct reason_run *run = &tables[row].runs[i];
        if (left < run->count)
            return run->reasons[left];
        left -= run->count;
    }
    return NULL;
}
