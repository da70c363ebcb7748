/* SPDX-License-Identifier: Apache-2.0
 *
 * `workers CASE` with the worker threads of GLib (-DWORKERS_GLIB) or libuv (-DWORKERS_LIBUV). "idle": they have nothing
 * to do. "stuck": each waits for something that only another job of the same pool would do. Prints "ready" and stays.
 */
#include "parking.h"

enum { WORKERS = 4 };

static void stay(void)
{
    truth_sleep_milliseconds(500);
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}

#if defined(WORKERS_GLIB)
#include <gio/gio.h>

static GThreadPool *pool;

struct job {
    GMutex lock;
    GCond done_condition;
    gboolean done;
};

static TC_FRAME void job_wait(struct job *job)
{
    g_mutex_lock(&job->lock);
    while (!job->done)
        g_cond_wait(&job->done_condition, &job->lock);
    g_mutex_unlock(&job->lock);
}

/* A job that gives the pool another job and waits for it, as long as there is a thread left. */
static void convert_picture(gpointer data, gpointer ignored)
{
    struct job *job = data, part = {.done = FALSE};

    (void)ignored;
    if (!job)
        return;
    truth_sleep_milliseconds(100);
    g_mutex_init(&part.lock);
    g_cond_init(&part.done_condition);
    g_thread_pool_push(pool, &part, NULL);
    job_wait(&part);
    TC_KEEP();
}

static void start(int is_stuck)
{
    static struct job jobs[WORKERS];

    pool = g_thread_pool_new(convert_picture, NULL, WORKERS, TRUE, NULL);
    for (int i = 0; i < WORKERS && is_stuck; i++)
        g_thread_pool_push(pool, &jobs[i], NULL);
}

#elif defined(WORKERS_LIBUV)
#include <uv.h>

static pthread_mutex_t config_lock = PTHREAD_MUTEX_INITIALIZER;

static TC_FRAME void config_read(void)
{
    pthread_mutex_lock(&config_lock);
    parking_read(0, parking_pipe());
}

static void work(uv_work_t *request)
{
    if (request->data)
        config_read();
    TC_KEEP();
}

static void worked(uv_work_t *request, int status)
{
    (void)request;
    (void)status;
}

static void *run_loop(void *argument)
{
    uv_run(argument, UV_RUN_DEFAULT);
    return argument;
}

static void start(int is_stuck)
{
    static uv_work_t requests[WORKERS];
    static uv_timer_t timer;
    uv_loop_t *loop = uv_default_loop();

    truth_group("reads", WORKERS, "", NULL);
    uv_timer_init(loop, &timer);
    uv_timer_start(&timer, NULL, 3600 * 1000, 0);
    for (int i = 0; i < WORKERS; i++) {
        requests[i].data = is_stuck ? loop : NULL;
        uv_queue_work(loop, &requests[i], work, worked);
    }
    parking_thread(run_loop, loop, 0);
}

#endif

int main(int count, char **arguments)
{
    if (count != 2)
        return 2;
    start(!strcmp(arguments[1], "stuck"));
    stay();
}
