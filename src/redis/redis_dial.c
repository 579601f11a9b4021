/* SPDX-License-Identifier: MIT */
/*
 * One attempt to connect. Addresses are tried in the resolver's order; each
 * may take an equal part of the time that is left, so an address that
 * swallows SYNs does not hide a sound one behind it. The last address's
 * failure is the one that is told.
 */
#include "redis_dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/net/addr.h"
#include "kamiyo/net/loop.h"
#include "kamiyo/net/resolver.h"
#include "kamiyo/redis/redis_url.h"

struct redis_dial {
    struct loop *loop;
    const struct redis_url *url;
    redis_dial_fn *done;
    void *arg;
    struct resolver_call *resolving; /* NULL = not */
    struct resolver_result resolved;
    int next;                /* index of the address that is tried next */
    int fd;                  /* -1 = none is under way */
    struct event event;      /* of fd */
    int64_t deadline_ms;     /* of the whole */
    struct loop_timer timer; /* of the whole while resolving, then of one address */
    struct loop_task failed_task;
    struct redis_failure failure;
};

static void close_socket(struct redis_dial *dial)
{
    if (dial->fd < 0)
        return;
    (void)event_del(&dial->event); /* cannot fail for an event that is assigned */
    (void)close(dial->fd);         /* nothing was written to it */
    dial->fd = -1;
}

static void release(struct redis_dial *dial)
{
    close_socket(dial);
    resolver_cancel(&dial->resolving);
    loop_timer_stop(&dial->timer);
    loop_task_cancel(dial->loop, &dial->failed_task);
    mem_free(dial);
}

static void finish(struct redis_dial *dial, int fd)
{
    redis_dial_fn *done = dial->done;
    void *arg = dial->arg;
    struct redis_failure failure = dial->failure;

    release(dial);
    done(arg, fd, &failure);
}

static void run_failed(void *arg)
{
    finish(arg, -1);
}

static void endpoint_of(const struct redis_dial *dial, struct addr_endpoint *endpoint)
{
    memset(endpoint, 0, sizeof(*endpoint));
    if (dial->url->is_unix) {
        endpoint->addr.family = ADDR_UNIX;
        memcpy(endpoint->unix_path, dial->url->path, sizeof(endpoint->unix_path));
    } else {
        endpoint->addr = dial->resolved.addrs[dial->next];
    }
}

static void tune(int fd)
{
    int on = 1;
    int idle_s = 15;

    /* Refused on unix sockets, and no loss if refused elsewhere. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
}

static void on_connected(evutil_socket_t fd, short what, void *arg);

/* Begin with the next address. False when it fails at once. */
static bool try_address(struct redis_dial *dial)
{
    struct addr_endpoint endpoint;
    struct sockaddr_storage storage;
    socklen_t length;
    int fd;

    endpoint_of(dial, &endpoint);
    dial->next++;
    length = addr_endpoint_to_sockaddr(&endpoint, &storage);
    fd = socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        redis_failure_from_errno(&dial->failure, errno, REDIS_REASON_REFUSED);
        return false;
    }
    if (connect(fd, (const struct sockaddr *)&storage, length) != 0 && errno != EINPROGRESS) {
        redis_failure_from_errno(&dial->failure, errno, REDIS_REASON_REFUSED);
        (void)close(fd); /* nothing was written to it */
        return false;
    }
    tune(fd);
    dial->fd = fd;
    (void)event_assign(&dial->event, loop_event_base(dial->loop), fd, EV_WRITE, on_connected,
                       dial); /* fd is sound */
    (void)event_add(&dial->event,
                    NULL); /* fails only without memory or epoll; the timer bounds it */
    return true;
}

/* True when one is under way; false when none is left. */
static bool try_addresses(struct redis_dial *dial)
{
    int count = dial->url->is_unix ? 1 : dial->resolved.count;
    int64_t left_ms;

    while (dial->next < count) {
        left_ms = dial->deadline_ms - loop_now_ms(dial->loop);
        if (left_ms < 1)
            left_ms = 1;
        left_ms = left_ms / (count - dial->next) + 1;
        if (try_address(dial)) {
            loop_timer_start(dial->loop, &dial->timer, left_ms);
            return true;
        }
    }
    return false;
}

static void on_connected(evutil_socket_t fd, short what, void *arg)
{
    struct redis_dial *dial = arg;
    int error = 0;
    socklen_t length = sizeof(error);

    (void)what;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
        error = errno;
    if (error == 0) {
        dial->fd = -1; /* handed over; its event was not persistent */
        finish(dial, fd);
        return;
    }
    redis_failure_from_errno(&dial->failure, error, REDIS_REASON_REFUSED);
    close_socket(dial);
    if (!try_addresses(dial))
        finish(dial, -1);
}

static void on_timer(void *arg)
{
    struct redis_dial *dial = arg;

    if (dial->resolving != NULL) {
        redis_failure_set(&dial->failure, REDIS_REASON_NAME, "no answer in time");
        finish(dial, -1);
        return;
    }
    redis_failure_set(&dial->failure, REDIS_REASON_CONNECT_TIMEOUT, "%s", "");
    close_socket(dial);
    if (!try_addresses(dial))
        finish(dial, -1);
}

/* False when the dial has failed. */
static bool use_answer(struct redis_dial *dial, const struct resolver_result *result)
{
    if (result != &dial->resolved)
        dial->resolved = *result;
    if (!result->is_found || result->count == 0) {
        redis_failure_set(&dial->failure, REDIS_REASON_NAME, "%s", result->reason);
        return false;
    }
    return try_addresses(dial);
}

static void on_resolved(void *arg, const struct resolver_result *result)
{
    struct redis_dial *dial = arg;

    dial->resolving = NULL;
    loop_timer_stop(&dial->timer);
    if (!use_answer(dial, result))
        finish(dial, -1);
}

static bool begin(struct redis_dial *dial, struct resolver *resolver, int64_t timeout_ms)
{
    if (dial->url->is_unix)
        return try_addresses(dial);
    if (resolver_resolve(resolver, dial->loop, dial->url->host, dial->url->port, &dial->resolved,
                         on_resolved, dial, &dial->resolving) == PROGRESS_DONE)
        return use_answer(dial, &dial->resolved);
    loop_timer_start(dial->loop, &dial->timer, timeout_ms);
    return true;
}

struct redis_dial *redis_dial_start(struct loop *loop,
                                    struct resolver *resolver,
                                    const struct redis_url *url,
                                    int64_t timeout_ms,
                                    redis_dial_fn *done,
                                    void *arg)
{
    struct redis_dial *dial = mem_alloc_zero(sizeof(*dial));

    dial->loop = loop;
    dial->url = url;
    dial->done = done;
    dial->arg = arg;
    dial->fd = -1;
    dial->deadline_ms = loop_now_ms(loop) + timeout_ms;
    loop_timer_init(&dial->timer, on_timer, dial);
    loop_task_init(&dial->failed_task, run_failed, dial);
    if (!begin(dial, resolver, timeout_ms))
        loop_defer(loop, &dial->failed_task);
    return dial;
}

void redis_dial_cancel(struct redis_dial **dial)
{
    if (*dial == NULL)
        return;
    release(*dial);
    *dial = NULL;
}
