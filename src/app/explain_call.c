/* SPDX-License-Identifier: MIT */
/*
 * A call crosses threads twice, as a look-up does (admin_lookup.c): the record
 * is the worker's between the two posts and the control loop's otherwise, which
 * alone reads `is_cancelled`; it counts in gateway->lookup_count, and the workers
 * outlive it.
 */
#include "app/explain_call.h"

#include <string.h>
#include <strings.h>

#include "kamiyo/app/explain.h"
#include "kamiyo/app/explain_json.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"

#include "app/app_internal.h"

struct admin_explain_call {
    struct gateway *gateway;
    bool is_cancelled;
    admin_explain_fn *done;
    void *done_arg;
    struct addr peer;
    struct slice method, target, key; /* in `bytes` */
    char *json;                       /* NULL until it is explained */
    size_t json_length;
    size_t size;
    char bytes[];
};

static void deliver(void *arg)
{
    struct admin_explain_call *call = arg;

    if (!call->is_cancelled)
        call->done(call->done_arg, (struct slice){call->json, call->json_length});
    call->gateway->lookup_count--;
    mem_free(call->json);
    mem_wipe(call->bytes, call->size);
    mem_free(call);
}

/* On the worker's loop: it is explained. */
static void finish(void *arg, struct explain *explain)
{
    struct admin_explain_call *call = arg;

    call->json = explain_json_format(explain, &call->json_length);
    explain_destroy(&explain);
    loop_post(call->gateway->loop, deliver, call);
}

/* The key, in a field where this configuration looks for one. */
static void put_key(struct text *fields, const struct identity_options *options, struct slice key)
{
    const char *name = "X-API-Key";
    bool is_looked_at = false;

    for (size_t i = 0; i < options->api_key.header_count; i++)
        is_looked_at |= strcasecmp(options->api_key.headers[i], name) == 0;
    if (!is_looked_at && options->api_key.header_count > 0)
        name = options->api_key.headers[0];
    text_append(fields, slice_of(name));
    text_append(fields, strcasecmp(name, "Authorization") == 0 ? SLICE(": Bearer ") : SLICE(": "));
    text_append(fields, key);
    text_append(fields, SLICE("\r\n"));
}

static void walk(void *arg)
{
    struct admin_explain_call *call = arg;
    char memory[ADMIN_MAX_HEAD_BYTES + 512];
    struct explain_parts parts;
    struct explain *explain;
    struct text fields;

    worker_bring_parts(call->gateway->workers[0], &parts);
    text_init(&fields, memory, sizeof(memory));
    if (call->key.length > 0)
        put_key(&fields, &parts.snapshot->config->identity, call->key);
    explain = explain_create(&parts, &call->peer, call->method, call->target, text_slice(&fields));
    mem_wipe(memory, sizeof(memory));
    if (explain_start(explain, finish, call) == PROGRESS_DONE)
        finish(call, explain);
}

static struct slice keep(char **at, struct slice bytes)
{
    struct slice kept = {*at, bytes.length};

    *at = slice_put(*at, bytes);
    return kept;
}

void explain_call_start(void *arg,
                        const struct admin_question *question,
                        admin_explain_fn *done,
                        void *done_arg,
                        struct admin_explain_call **call)
{
    struct gateway *gateway = arg;
    size_t size = question->method.length + question->target.length + question->key.length;
    struct admin_explain_call *made = mem_alloc_zero(sizeof(*made) + size);
    char *at = made->bytes;

    made->gateway = gateway;
    made->done = done;
    made->done_arg = done_arg;
    made->peer = question->peer;
    made->size = size;
    made->method = keep(&at, question->method);
    made->target = keep(&at, question->target);
    made->key = keep(&at, question->key);
    *call = made;
    gateway->lookup_count++;
    worker_post(gateway->workers[0], walk, made);
}

void explain_call_cancel(void *arg, struct admin_explain_call **call)
{
    (void)arg;
    if (*call != NULL)
        (*call)->is_cancelled = true; /* it frees itself when it comes back */
    *call = NULL;
}
