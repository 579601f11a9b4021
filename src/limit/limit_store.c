/* SPDX-License-Identifier: MIT */
/*
 * One mutex guards all of it; workers come by when something changes, not for
 * each request. What is logged here is what scripts and the setup guide read
 * (contract section 9), so each line has one place and one condition.
 */
#include "limit_store.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kamiyo/base/clock.h"
#include "kamiyo/base/hash.h"
#include "kamiyo/base/log.h"
#include "kamiyo/base/mem.h"

#define MAX_INSTANCES 1000

enum store_state {
    STORE_UNKNOWN,
    STORE_UP,
    STORE_DOWN
};

struct limit_store {
    pthread_mutex_t lock;
    enum store_state state;
    bool is_configured;
    size_t worker_count;
    size_t up_count;
    size_t connected_count;   /* while the state is UNKNOWN */
    int64_t instances;        /* as last counted */
    int64_t outage_instances; /* when the state became DOWN */
    int64_t since_ms;         /* Unix: of the state */
    struct redis_failure failure;
    char instance[LIMIT_STORE_INSTANCE_SIZE];
};

/* Render names its instances; elsewhere the host does, with the process behind it. */
static void name_instance(char out[LIMIT_STORE_INSTANCE_SIZE])
{
    const char *given = getenv("RENDER_INSTANCE_ID");
    char host[64] = "";
    unsigned random;

    if (given == NULL || given[0] == '\0') {
        (void)gethostname(host, sizeof(host) - 1); /* without a name the rest is still unique */
        given = host;
    }
    hash_random(&random, sizeof(random));
    (void)snprintf(out, LIMIT_STORE_INSTANCE_SIZE, "%.60s-%ld-%08x", given, (long)getpid(),
                   random); /* fits */
    for (char *at = out; *at != '\0'; at++) {
        if (!isalnum((unsigned char)*at) && strchr("._-", *at) == NULL)
            *at = '_';
    }
}

struct limit_store *limit_store_create(size_t worker_count)
{
    struct limit_store *store = mem_alloc_zero(sizeof(*store));

    (void)pthread_mutex_init(&store->lock, NULL); /* a plain mutex cannot fail */
    store->worker_count = worker_count;
    store->instances = 1;
    store->outage_instances = 1;
    store->since_ms = clock_wall_ms();
    name_instance(store->instance);
    return store;
}

void limit_store_destroy(struct limit_store **store)
{
    if (*store == NULL)
        return;
    (void)pthread_mutex_destroy(&(*store)->lock); /* nobody holds it */
    mem_free(*store);
    *store = NULL;
}

static void lock(struct limit_store *store)
{
    (void)pthread_mutex_lock(&store->lock); /* a plain mutex cannot fail */
}

static void unlock(struct limit_store *store)
{
    (void)pthread_mutex_unlock(&store->lock); /* likewise */
}

static void enter(struct limit_store *store, enum store_state state)
{
    store->state = state;
    store->since_ms = clock_wall_ms();
}

void limit_store_expect(struct limit_store *store)
{
    lock(store);
    store->is_configured = true;
    unlock(store);
}

void limit_store_report_connected(struct limit_store *store)
{
    lock(store);
    store->connected_count++;
    unlock(store);
}

void limit_store_report_up(struct limit_store *store)
{
    lock(store);
    store->up_count++;
    if (store->state == STORE_UNKNOWN ||
        (store->state == STORE_DOWN && store->up_count >= store->worker_count)) {
        enter(store, STORE_UP);
        log_info("Rate limiter using Redis backend");
    }
    unlock(store);
}

void limit_store_report_down(struct limit_store *store,
                             const struct redis_failure *failure,
                             bool was_up)
{
    char reason[256];

    lock(store);
    if (was_up)
        store->up_count--;
    store->failure = *failure;
    if (store->state != STORE_DOWN) {
        enter(store, STORE_DOWN);
        store->outage_instances = store->instances;
        redis_failure_format(failure, reason, sizeof(reason));
        log_warning("Redis unavailable, falling back to in-memory: %s", reason);
    }
    unlock(store);
}

void limit_store_leave(struct limit_store *store)
{
    lock(store);
    store->up_count--;
    unlock(store);
}

const char *limit_store_instance(const struct limit_store *store)
{
    return store->instance;
}

void limit_store_set_instances(struct limit_store *store, int64_t count)
{
    lock(store);
    store->instances = count < 1 ? 1 : count > MAX_INSTANCES ? MAX_INSTANCES : count;
    unlock(store);
}

int64_t limit_store_instances(struct limit_store *store)
{
    int64_t count;

    lock(store);
    count = store->state == STORE_DOWN ? store->outage_instances : store->instances;
    unlock(store);
    return count;
}

bool limit_store_is_up(struct limit_store *store)
{
    bool is_up;

    lock(store);
    is_up = store->state == STORE_UP;
    unlock(store);
    return is_up;
}

bool limit_store_is_known(struct limit_store *store)
{
    bool is_known;

    lock(store);
    is_known = !store->is_configured || store->state == STORE_DOWN ||
               store->up_count >= store->worker_count;
    unlock(store);
    return is_known;
}

void limit_store_end_wait(struct limit_store *store)
{
    struct redis_failure failure;
    bool is_connected;

    if (limit_store_is_known(store))
        return;
    lock(store);
    is_connected = store->connected_count >= store->worker_count;
    unlock(store);
    redis_failure_set(&failure, is_connected ? REDIS_REASON_TIMEOUT : REDIS_REASON_CONNECT_TIMEOUT,
                      "%s", "");
    limit_store_report_down(store, &failure, false);
}

void limit_store_status(struct limit_store *store, struct limit_status *status)
{
    lock(store);
    status->is_configured = store->is_configured;
    status->is_up = store->state == STORE_UP;
    status->workers_up = store->up_count;
    status->instances = store->instances;
    status->since_ms = store->since_ms;
    status->reason[0] = '\0';
    if (store->state == STORE_DOWN)
        redis_failure_format(&store->failure, status->reason, sizeof(status->reason));
    unlock(store);
}
