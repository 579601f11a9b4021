/* SPDX-License-Identifier: MIT */
/*
 * Name queries in order of arrival on one helper thread, because getaddrinfo
 * blocks and is the only thing that agrees with the rest of the machine about
 * names. Answers travel home by loop_post.
 *
 * A call is queued, then asked, then posted. Cancelled while queued it is
 * freed at once; later it is only marked, and whoever meets it next frees it.
 * The state is under the resolver's lock; the answer belongs to the helper
 * until it is posted and to the loop's thread after.
 */
#include "kamiyo/net/resolver.h"

#include <assert.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/net/loop.h"

enum call_state {
    CALL_QUEUED,
    CALL_ASKED,
    CALL_POSTED
};

struct resolver_call {
    TAILQ_ENTRY(resolver_call) entry; /* while queued */
    struct resolver *resolver;
    struct loop *loop;
    resolver_done_fn *done;
    void *arg;
    enum call_state state;
    bool is_cancelled;
    uint16_t port;
    char host[256]; /* a name has at most 253 bytes */
    struct resolver_result result;
};

TAILQ_HEAD(call_queue, resolver_call);

struct resolver {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t is_work; /* a call was queued, or the end has come */
    struct call_queue queue;
    bool is_ending;
    bool has_thread;
};

static void set_failure(struct resolver_result *result, const char *reason)
{
    result->is_found = false;
    result->count = 0;
    (void)snprintf(result->reason, sizeof(result->reason), "%s", reason); /* cut when too long */
}

static void add_addr(struct resolver_result *result, const struct addrinfo *info, uint16_t port)
{
    struct addr addr;

    addr_from_sockaddr(info->ai_addr, info->ai_addrlen, &addr);
    addr.port = port;
    if ((addr.family != ADDR_IPV4 && addr.family != ADDR_IPV6) ||
        result->count == RESOLVER_MAX_ADDRS)
        return;
    for (int i = 0; i < result->count; i++) {
        if (addr_equal(&result->addrs[i], &addr))
            return;
    }
    result->addrs[result->count++] = addr;
}

static void ask(struct resolver_call *call)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int failure = getaddrinfo(call->host, NULL, &hints, &list);

    if (failure != 0) {
        set_failure(&call->result, gai_strerror(failure));
        return;
    }
    for (const struct addrinfo *info = list; info != NULL; info = info->ai_next)
        add_addr(&call->result, info, call->port);
    freeaddrinfo(list);
    call->result.is_found = call->result.count > 0;
    if (!call->result.is_found)
        set_failure(&call->result, "no address");
}

static void free_call(void *arg)
{
    mem_free(arg);
}

/* On the loop's thread, as is resolver_cancel, so the mark cannot change meanwhile. */
static void deliver(void *arg)
{
    struct resolver_call *call = arg;

    if (!call->is_cancelled)
        call->done(call->arg, &call->result);
    mem_free(call);
}

static void *run(void *arg)
{
    struct resolver *resolver = arg;
    struct resolver_call *call;

    (void)pthread_mutex_lock(&resolver->lock); /* cannot fail for a plain mutex */
    for (;;) {
        while ((call = TAILQ_FIRST(&resolver->queue)) == NULL && !resolver->is_ending)
            (void)pthread_cond_wait(&resolver->is_work, &resolver->lock); /* cannot fail either */
        if (call == NULL)
            break;
        TAILQ_REMOVE(&resolver->queue, call, entry);
        call->state = CALL_ASKED;
        (void)pthread_mutex_unlock(&resolver->lock);
        ask(call);
        (void)pthread_mutex_lock(&resolver->lock);
        /* Posted under the lock: whoever cancels knows then whether its loop is still needed. */
        call->state = CALL_POSTED;
        if (call->is_cancelled)
            free_call(call);
        else
            loop_post_or_drop(call->loop, deliver, free_call, call);
    }
    (void)pthread_mutex_unlock(&resolver->lock);
    return NULL;
}

struct resolver *resolver_create(void)
{
    struct resolver *resolver = mem_alloc_zero(sizeof(*resolver));

    TAILQ_INIT(&resolver->queue);
    (void)pthread_mutex_init(&resolver->lock, NULL);   /* cannot fail for a plain mutex */
    (void)pthread_cond_init(&resolver->is_work, NULL); /* nor for a plain condition */
    resolver->has_thread = pthread_create(&resolver->thread, NULL, run, resolver) == 0;
    if (resolver->has_thread)
        return resolver;
    resolver_destroy(&resolver);
    return NULL;
}

void resolver_destroy(struct resolver **resolver_pointer)
{
    struct resolver *resolver = *resolver_pointer;

    if (resolver == NULL)
        return;
    *resolver_pointer = NULL;
    if (resolver->has_thread) {
        (void)pthread_mutex_lock(&resolver->lock); /* cannot fail for a plain mutex */
        resolver->is_ending = true;
        (void)pthread_cond_signal(&resolver->is_work);
        (void)pthread_mutex_unlock(&resolver->lock);
        (void)pthread_join(resolver->thread, NULL); /* it is ours and joinable */
    }
    assert(TAILQ_EMPTY(&resolver->queue));
    (void)pthread_cond_destroy(&resolver->is_work);
    (void)pthread_mutex_destroy(&resolver->lock);
    mem_free(resolver);
}

static bool answer_literal(const char *host, uint16_t port, struct resolver_result *result)
{
    struct addr addr;

    if (!addr_parse_with_port(slice_of(host), &addr) || addr.port != 0)
        return false;
    addr.port = port;
    memset(result, 0, sizeof(*result));
    result->addrs[0] = addr;
    result->count = 1;
    result->is_found = true;
    return true;
}

enum progress resolver_resolve(struct resolver *resolver,
                               struct loop *loop,
                               const char *host,
                               uint16_t port,
                               struct resolver_result *result,
                               resolver_done_fn *done,
                               void *arg,
                               struct resolver_call **call_pointer)
{
    size_t length = strlen(host);
    struct resolver_call *call;

    if (answer_literal(host, port, result))
        return PROGRESS_DONE;
    if (length == 0 || length >= sizeof(call->host)) {
        memset(result, 0, sizeof(*result));
        set_failure(result, length == 0 ? "empty name" : "name too long");
        return PROGRESS_DONE;
    }
    call = mem_alloc_zero(sizeof(*call));
    call->resolver = resolver;
    call->loop = loop;
    call->done = done;
    call->arg = arg;
    call->port = port;
    memcpy(call->host, host, length + 1);
    *call_pointer = call;
    (void)pthread_mutex_lock(&resolver->lock); /* cannot fail for a plain mutex */
    TAILQ_INSERT_TAIL(&resolver->queue, call, entry);
    (void)pthread_cond_signal(&resolver->is_work);
    (void)pthread_mutex_unlock(&resolver->lock);
    return PROGRESS_PENDING;
}

void resolver_cancel(struct resolver_call **call_pointer)
{
    struct resolver_call *call = *call_pointer;
    struct resolver *resolver;

    if (call == NULL)
        return;
    *call_pointer = NULL;
    resolver = call->resolver;
    (void)pthread_mutex_lock(&resolver->lock); /* cannot fail for a plain mutex */
    call->is_cancelled = true;
    if (call->state == CALL_QUEUED) {
        TAILQ_REMOVE(&resolver->queue, call, entry);
        free_call(call);
    }
    (void)pthread_mutex_unlock(&resolver->lock);
}
