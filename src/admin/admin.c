/* SPDX-License-Identifier: MIT */
/*
 * The admin listener: accepts, owns its connections, ends with them. The
 * control thread's alone; a slow or silent client costs one of a bounded
 * number of connections until its timer runs out, and no worker anything.
 */
#include "kamiyo/admin/admin.h"

#include "kamiyo/base/mem.h"

#include "admin/admin_internal.h"

static void on_accept(void *arg, int fd, const struct addr *peer)
{
    (void)peer;
    admin_connection_create(arg, fd);
}

struct admin *admin_create(struct loop *loop,
                           int fd,
                           const struct admin_options *options,
                           const struct admin_source *source)
{
    struct admin *admin = mem_alloc_zero(sizeof(*admin));
    struct addr_endpoint at = options->listen;

    admin->loop = loop;
    admin->source = *source;
    admin->limit.max = ADMIN_MAX_CONNECTIONS;
    TAILQ_INIT(&admin->connections);
    admin_events_init(&admin->events, admin);
    admin_access_init(&admin->access, &at);
    (void)admin_access_set_token(&admin->access, options->token); /* the first one */
    admin->listener = listener_create(loop, fd, &admin->limit, on_accept, admin);
    return admin;
}

void admin_set_token(struct admin *admin, const char *token)
{
    if (admin_access_set_token(&admin->access, token))
        admin_events_end(admin, SLICE("token"));
}

void admin_end_events(struct admin *admin)
{
    admin_events_end(admin, SLICE("draining"));
}

void admin_destroy(struct admin **admin)
{
    struct admin_connection *connection;

    if (*admin == NULL)
        return;
    listener_destroy(&(*admin)->listener);
    while ((connection = TAILQ_FIRST(&(*admin)->connections)) != NULL)
        admin_connection_close(connection);
    admin_access_clear(&(*admin)->access);
    mem_free(*admin);
    *admin = NULL;
}
