/* SPDX-License-Identifier: MIT */
/*
 * A survey is one record that visits the workers in turn, so that it has one
 * owner at each moment: a worker's loop, or the control loop, which alone reads
 * `is_cancelled`. It counts in gateway->lookup_count, and the workers outlive it.
 */
#include "app/admin_survey.h"

#include <string.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/observe/denials.h"
#include "kamiyo/upstream/upstream_pool.h"

#include "app/app_internal.h"

struct admin_survey_call {
    struct gateway *gateway;
    bool is_cancelled;
    admin_survey_fn *done;
    void *done_arg;
    size_t next_worker;
    size_t client_count;
    size_t endpoint_count;
    struct denials_client clients[ADMIN_SURVEY_CLIENTS];
    struct admin_endpoint endpoints[ADMIN_SURVEY_ENDPOINTS];
};

static void deliver(void *arg)
{
    struct admin_survey_call *call = arg;
    const struct admin_survey survey = {
        .clients = call->clients,
        .client_count = call->client_count,
        .endpoints = call->endpoints,
        .endpoint_count = call->endpoint_count,
    };
    if (!call->is_cancelled)
        call->done(call->done_arg, &survey);
    call->gateway->lookup_count--;
    mem_free(call);
}

static void add_clients(struct admin_survey_call *call, struct worker *worker)
{
    struct denials_client *clients = mem_alloc(ADMIN_SURVEY_CLIENTS * sizeof(clients[0]));
    size_t count = worker_list_denied(worker, clients, ADMIN_SURVEY_CLIENTS);
    call->client_count =
        denials_merge(call->clients, call->client_count, ADMIN_SURVEY_CLIENTS, clients, count);
    mem_free(clients);
}

static struct admin_endpoint *find_endpoint(struct admin_survey_call *call, const char *name)
{
    size_t at = 0;
    while (at < call->endpoint_count && strcmp(call->endpoints[at].name, name) != 0)
        at++;
    if (at == ADMIN_SURVEY_ENDPOINTS)
        return NULL;
    if (at == call->endpoint_count) {
        call->endpoint_count++;
        (void)strncpy(call->endpoints[at].name, name, sizeof(call->endpoints[at].name) - 1);
    }
    return &call->endpoints[at];
}

static void add_endpoints(struct admin_survey_call *call, struct worker *worker)
{
    struct upstream_endpoint_status endpoints[ADMIN_SURVEY_ENDPOINTS];
    size_t count = worker_list_endpoints(worker, endpoints, ADMIN_SURVEY_ENDPOINTS);
    for (size_t i = 0; i < count; i++) {
        struct admin_endpoint *sum = find_endpoint(call, endpoints[i].name);
        if (sum == NULL)
            continue;
        sum->workers_ejecting += endpoints[i].is_ejected ? 1 : 0;
        sum->connections += endpoints[i].connection_count;
        sum->requests += endpoints[i].request_count;
        sum->failures += endpoints[i].failure_count;
    }
}

/* On a worker's loop; then on the next one's. */
static void visit(void *arg)
{
    struct admin_survey_call *call = arg;
    struct gateway *gateway = call->gateway;
    struct worker *worker = gateway->workers[call->next_worker++];
    add_clients(call, worker);
    add_endpoints(call, worker);
    if (call->next_worker < gateway->worker_count)
        worker_post(gateway->workers[call->next_worker], visit, call);
    else
        loop_post(gateway->loop, deliver, call);
}

void admin_survey_start(void *arg,
                        admin_survey_fn *done,
                        void *done_arg,
                        struct admin_survey_call **call)
{
    struct gateway *gateway = arg;
    *call = mem_alloc_zero(sizeof(**call));
    (*call)->gateway = gateway;
    (*call)->done = done;
    (*call)->done_arg = done_arg;
    gateway->lookup_count++;
    worker_post(gateway->workers[0], visit, *call);
}

void admin_survey_cancel(void *arg, struct admin_survey_call **call)
{
    (void)arg;
    if (*call != NULL)
        (*call)->is_cancelled = true; /* it frees itself when it comes back */
    *call = NULL;
}
