/* SPDX-License-Identifier: MIT */
/*
 * Listening sockets. Each worker accepts on its own; the kernel spreads the
 * connections. A listener that cannot accept (no descriptors, too many
 * clients) takes its event away and looks again after a while, because a
 * level-triggered event on a queue that nobody empties would spin.
 */
#include "kamiyo/net/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "kamiyo/base/log.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/net/loop.h"

#define BACKLOG        4096 /* the kernel cuts it to net.core.somaxconn */
#define ACCEPTS_A_TURN 64
#define PAUSE_MS       100
#define DRAIN_ACCEPTS  (2 * BACKLOG) /* a flood must not keep a drain from ending */

struct listener {
    struct loop *loop;
    int fd; /* -1 = closed, waiting to be freed */
    struct event event;
    struct loop_timer pause;
    struct loop_task free_task;
    struct listener_limit *limit; /* NULL = none */
    listener_accept_fn *on_accept;
    void *arg;
};

/* --- opening --- */

static int open_socket(const struct addr_endpoint *at, bool is_shared, struct error *error)
{
    struct sockaddr_storage address;
    socklen_t length = addr_endpoint_to_sockaddr(at, &address);
    const int on = 1;
    char name[128];
    int fd = -1;

    (void)addr_endpoint_format(at, name); /* its length is of no interest */
    if (length == 0) {
        error_set(error, "no address to listen on");
        return -1;
    }
    fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        goto fail;
    if (address.ss_family != AF_UNIX) {
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0)
            goto fail;
        if (is_shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0)
            goto fail;
    }
    if (bind(fd, (const struct sockaddr *)&address, length) != 0)
        goto fail;
    return fd;

fail:
    if (errno == EADDRINUSE)
        error_set(error, "%s is in use", name);
    else
        error_set(error, "cannot listen on %s: %s", name, strerrordesc_np(errno));
    if (fd >= 0)
        (void)close(fd); /* nothing was bound to it */
    return -1;
}

/* A socket file that nobody answers is left from a process that is gone; anything else stays. */
static bool remove_stale_socket(const struct addr_endpoint *at)
{
    struct sockaddr_storage address;
    socklen_t length = addr_endpoint_to_sockaddr(at, &address);
    struct stat info;
    bool is_stale;
    int fd;

    if (lstat(at->unix_path, &info) != 0 || !S_ISSOCK(info.st_mode))
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    is_stale = connect(fd, (const struct sockaddr *)&address, length) != 0 && errno == ECONNREFUSED;
    (void)close(fd); /* it was a question only */
    return is_stale && unlink(at->unix_path) == 0;
}

bool listener_probe(const struct addr_endpoint *at, struct error *error)
{
    int fd = open_socket(at, false, error);
    bool is_unix = at->addr.family == ADDR_UNIX;

    if (fd < 0 && is_unix && remove_stale_socket(at))
        fd = open_socket(at, false, error);
    if (fd < 0)
        return false;
    (void)close(fd); /* nobody connected yet */
    if (is_unix)
        (void)unlink(at->unix_path); /* made by the bind above */
    return true;
}

int listener_open(const struct addr_endpoint *at, struct error *error)
{
    int fd = open_socket(at, true, error);
    char name[128];

    if (fd < 0 && at->addr.family == ADDR_UNIX && remove_stale_socket(at))
        fd = open_socket(at, true, error);
    if (fd < 0)
        return -1;
    if (listen(fd, BACKLOG) != 0) {
        (void)addr_endpoint_format(at, name); /* its length is of no interest */
        if (errno ==
            EADDRINUSE) /* another listens already: told here, not by bind, with SO_REUSEADDR */
            error_set(error, "%s is in use", name);
        else
            error_set(error, "cannot listen on %s: %s", name, strerrordesc_np(errno));
        (void)close(fd); /* nobody connected yet */
        return -1;
    }
    return fd;
}

void listener_local_endpoint(int fd, struct addr_endpoint *endpoint)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof(address);

    memset(endpoint, 0, sizeof(*endpoint));
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        return;
    addr_from_sockaddr((const struct sockaddr *)&address, length, &endpoint->addr);
    if (endpoint->addr.family == ADDR_UNIX) {
        const char *path = (const char *)&address + sizeof(sa_family_t);
        size_t room = length - sizeof(sa_family_t);

        memcpy(endpoint->unix_path, path, strnlen(path, room < 107 ? room : 107));
    }
}

/* --- accepting --- */

void listener_limit_release(struct listener_limit *limit)
{
    if (limit != NULL)
        atomic_fetch_sub_explicit(&limit->open, 1, memory_order_relaxed);
}

static bool take_place(struct listener_limit *limit, bool is_forced)
{
    if (limit == NULL)
        return true;
    if (atomic_fetch_add_explicit(&limit->open, 1, memory_order_relaxed) <
            atomic_load_explicit(&limit->max, memory_order_relaxed) ||
        is_forced)
        return true;
    listener_limit_release(limit);
    return false;
}

static void pause_accepting(struct listener *listener, const char *why)
{
    log_debug("accepting pauses: %s", why);
    (void)event_del(&listener->event); /* it was added */
    loop_timer_start(listener->loop, &listener->pause, PAUSE_MS);
}

/* accept(2): the connection died in the queue, or brought an error of its own network with it. */
static bool is_of_one_connection(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPERM:
    case EPROTO:
    case ENOPROTOOPT:
    case ENETDOWN:
    case ENETUNREACH:
    case ENONET:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
        return true;
    default:
        return false;
    }
}

/* True: one was taken off the queue, go on. False: none is waiting, or none can be taken now. */
static bool accept_one(struct listener *listener, bool is_draining)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    struct addr peer;
    int fd;

    if (!take_place(listener->limit, is_draining)) {
        pause_accepting(listener, "client.max_connections is reached");
        return false;
    }
    fd = accept4(listener->fd, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        listener_limit_release(listener->limit);
        if (is_of_one_connection(errno))
            return true;
        if (errno != EAGAIN && !is_draining)
            pause_accepting(listener, strerrordesc_np(errno));
        return false;
    }
    addr_from_sockaddr((const struct sockaddr *)&address, length, &peer);
    listener->on_accept(listener->arg, fd, &peer);
    return true;
}

static void on_connections(int fd, short what, void *arg)
{
    struct listener *listener = arg;

    (void)fd;
    (void)what;
    /* The owner may close the listener in between. */
    for (int i = 0; i < ACCEPTS_A_TURN && listener->fd >= 0; i++) {
        if (!accept_one(listener, false))
            return;
    }
}

static void on_pause_over(void *arg)
{
    struct listener *listener = arg;

    if (event_add(&listener->event, NULL) != 0)
        loop_timer_start(listener->loop, &listener->pause, PAUSE_MS);
}

static void free_listener(void *arg)
{
    mem_free(arg);
}

struct listener *listener_create(struct loop *loop,
                                 int fd,
                                 struct listener_limit *limit,
                                 listener_accept_fn *on_accept,
                                 void *arg)
{
    struct listener *listener = mem_alloc_zero(sizeof(*listener));
    const int on = 1;

    listener->loop = loop;
    listener->fd = fd;
    listener->limit = limit;
    listener->on_accept = on_accept;
    listener->arg = arg;
    loop_timer_init(&listener->pause, on_pause_over, listener);
    loop_task_init(&listener->free_task, free_listener, listener);
    /* Accepted sockets inherit it, which saves each a system call; a unix socket refuses it. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    /* Fails for contradictory arguments only. */
    (void)event_assign(&listener->event, loop_event_base(loop), fd, EV_READ | EV_PERSIST,
                       on_connections, listener);
    on_pause_over(listener);
    return listener;
}

void listener_destroy(struct listener **listener_pointer)
{
    struct listener *listener = *listener_pointer;

    if (listener == NULL)
        return;
    *listener_pointer = NULL;
    loop_timer_stop(&listener->pause);
    (void)event_del(&listener->event); /* need not be added */
    (void)close(listener->fd);         /* nothing that it could report can be helped */
    listener->fd = -1;
    loop_defer(listener->loop, &listener->free_task); /* its event may be on the stack */
}

void listener_drain(struct listener **listener)
{
    if (*listener == NULL)
        return;
    for (int i = 0; i < DRAIN_ACCEPTS && accept_one(*listener, true); i++)
        ;
    listener_destroy(listener);
}
