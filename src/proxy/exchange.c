/* SPDX-License-Identifier: MIT */
/*
 * One request and its answer, from the head to the log line. The only writer of
 * `state`; everything that ends an exchange goes through exchange_finish, which
 * gives back what it holds and tells the client once.
 *
 *   HEAD ─> IDENTITY ─> LIMIT ─> UPSTREAM ─> REQUEST ─> RESPONSE ─> DONE
 *     │        │          │         │           ├─> TUNNEL ────────> │
 *     └────────┴──────────┴─────────┴───────────┴─> REPLY ─────────> │
 *
 * Each arrow may be taken within one turn. A request whose reused connection
 * died before any byte of an answer goes back from REQUEST to UPSTREAM, once,
 * if it may be sent twice or nothing of it had been sent.
 */
#include <assert.h>
#include <string.h>

#include "kamiyo/http/writer.h"
#include "kamiyo/observe/metrics.h"

#include "proxy/proxy_internal.h"

#define MOVE(state) (1u << EXCHANGE_##state)

static const unsigned legal_moves[EXCHANGE_STATE_COUNT] = {
    [EXCHANGE_HEAD] =
        MOVE(IDENTITY) | MOVE(LIMIT) | MOVE(UPSTREAM) | MOVE(REQUEST) | MOVE(REPLY) | MOVE(DONE),
    [EXCHANGE_IDENTITY] = MOVE(LIMIT) | MOVE(UPSTREAM) | MOVE(REQUEST) | MOVE(REPLY) | MOVE(DONE),
    [EXCHANGE_LIMIT] = MOVE(UPSTREAM) | MOVE(REQUEST) | MOVE(REPLY) | MOVE(DONE),
    [EXCHANGE_UPSTREAM] = MOVE(REQUEST) | MOVE(REPLY) | MOVE(DONE),
    [EXCHANGE_REQUEST] =
        MOVE(UPSTREAM) | MOVE(REQUEST) | MOVE(RESPONSE) | MOVE(TUNNEL) | MOVE(REPLY) | MOVE(DONE),
    [EXCHANGE_RESPONSE] = MOVE(REPLY) | MOVE(DONE),
    [EXCHANGE_TUNNEL] = MOVE(DONE),
    [EXCHANGE_REPLY] = MOVE(DONE),
    [EXCHANGE_DONE] = 0,
};

void exchange_enter(struct exchange *exchange, enum exchange_state state)
{
    assert((legal_moves[exchange->state] & (1u << state)) != 0);
    exchange->state = state;
}

static void on_upstream_deadline(void *arg);
static void on_write_deadline(void *arg);

static void free_exchange(void *arg)
{
    struct exchange *exchange = arg;
    struct proxy *proxy = exchange->proxy;
    if (exchange->memo_size == PROXY_MEMO_BYTES)
        mem_pool_give(&proxy->memos, exchange->memo);
    else
        mem_free(exchange->memo);
    route_lease_unref(&exchange->routes);
    http_body_clear(&exchange->request_body);
    http_body_clear(&exchange->response_body);
    input_clear(&exchange->response_input);
    mem_pool_give(&proxy->exchanges, exchange);
}

/*
 * Answered where it began, so nothing of it is on the stack any more. One read may hold thousands
 * of requests that are refused, and many clients may be read in one turn: at its end would be late.
 */
static void free_at_once(struct exchange *exchange)
{
    loop_task_cancel(exchange->proxy->loop, &exchange->free_task);
    free_exchange(exchange);
}

static struct exchange *create(struct client *client, size_t memo_size)
{
    struct proxy *proxy = client->proxy;
    const struct clock_time *now = loop_now(proxy->loop);
    struct exchange *exchange = mem_pool_take(&proxy->exchanges);
    memset(exchange, 0, offsetof(struct exchange, client_ip));
    exchange->client = client;
    exchange->proxy = proxy;
    exchange->upstream_us = -1;
    exchange->began_us = now->monotonic_us;
    exchange->began_wall_us = now->wall_us;
    exchange->minor_version = 1;
    exchange->memo_size = memo_size <= PROXY_MEMO_BYTES ? PROXY_MEMO_BYTES : memo_size;
    exchange->memo =
        memo_size <= PROXY_MEMO_BYTES ? mem_pool_take(&proxy->memos) : mem_alloc(memo_size);
    exchange->routes = route_lease_ref(proxy->routes);
    loop_task_init(&exchange->free_task, free_exchange, exchange);
    loop_timer_init(&exchange->timer, on_upstream_deadline, exchange);
    loop_timer_init(&exchange->write_timer, on_write_deadline, exchange);
    client->exchange = exchange;
    client->phase = CLIENT_EXCHANGING;
    return exchange;
}

/* Copy a part of the head into the memo. */
static struct slice remember(struct text *memo, struct slice bytes)
{
    struct slice kept = {memo->data + memo->length, bytes.length};
    text_append(memo, bytes);
    return memo->overflow ? (struct slice){NULL, 0} : kept;
}

static struct slice remember_id(struct exchange *exchange, struct text *memo, struct slice given)
{
    struct slice made = {memo->data + memo->length, REQUEST_ID_MADE_BYTES};
    if (request_id_is_valid(given))
        return remember(memo, given);
    if (memo->capacity - memo->length < made.length) {
        memo->overflow = true;
        return (struct slice){NULL, 0};
    }
    request_id_make(&exchange->proxy->ids, memo->data + memo->length);
    memo->length += made.length;
    return made;
}

/*
 * The exchange outlives its request's head: copy what the log line and the answer still need of it,
 * behind the rewritten head, which is not written to any more. A request that is answered where it
 * began comes along without.
 */
static void remember_request(struct exchange *exchange)
{
    struct slice *const parts[] = {&exchange->method,  &exchange->target, &exchange->user_agent,
                                   &exchange->referer, &exchange->origin, &exchange->upgrade};
    const struct text *head = &exchange->upstream_head;
    struct text memo;
    text_init(&memo, head->data + head->length, head->capacity - head->length);
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        if (parts[i]->length > 0)
            *parts[i] = remember(&memo, *parts[i]);
}

/* The Upgrade that this request may turn into a tunnel; h2c would carry requests that nobody
 * counts. */
static struct slice wanted_upgrade(const struct http_request_head *request)
{
    struct slice value = http_head_find(&request->head, HTTP_FIELD_UPGRADE);
    struct slice rest = value, part;
    if (!request->head.has_upgrade || request->head.minor_version == 0)
        return SLICE("");
    while (slice_cut(&rest, ',', &part)) {
        part = slice_trim(part);
        if (part.length >= 2 && slice_equal_ignore_case((struct slice){part.data, 2}, SLICE("h2")))
            return SLICE("");
    }
    return value;
}

/* Whether Accept names application/problem+json (q values aside: who names it can read it). */
static bool accepts_problem_json(const struct http_request_head *request)
{
    struct slice accept = http_head_find(&request->head, HTTP_FIELD_ACCEPT);
    const struct slice before = SLICE("application/problem"), after = SLICE("+json");
    for (size_t i = slice_find(accept, '+'); i + after.length <= accept.length; i++)
        if (accept.data[i] == '+' && i >= before.length &&
            slice_equal_letters(accept.data + i, after.data, after.length) &&
            slice_equal_letters(accept.data + i - before.length, before.data, before.length))
            return true;
    return false;
}

/* What is looked at later. The slices point into the head until remember_request. */
static void keep_request(struct exchange *exchange, const struct http_request_head *request)
{
    const struct http_head *head = &request->head;
    struct text memo;
    text_init(&memo, exchange->memo, exchange->memo_size);
    exchange->request_id =
        remember_id(exchange, &memo, http_head_find(head, HTTP_FIELD_X_REQUEST_ID));
    exchange->method = request->method;
    exchange->target = request->target;
    exchange->user_agent = http_head_find(head, HTTP_FIELD_USER_AGENT);
    exchange->referer = http_head_find(head, HTTP_FIELD_REFERER);
    exchange->origin = http_head_find(head, HTTP_FIELD_ORIGIN);
    exchange->upgrade = wanted_upgrade(request);
    text_init(&exchange->upstream_head, memo.data + memo.length, memo.capacity - memo.length);

    exchange->minor_version = head->minor_version;
    exchange->is_head_method = request->is_head_method;
    exchange->can_retry = request->is_idempotent && head->framing == HTTP_FRAMING_NONE;
    exchange->wants_keep_alive = head->keep_alive;
    exchange->expects_continue = request->expects_continue;
    exchange->wants_problem_json = accepts_problem_json(request);
    http_body_init(&exchange->request_body, head);
}

void exchange_keep_head(struct exchange *exchange)
{
    struct proxy *proxy = exchange->proxy;
    if (exchange->upstream_head.length > 0 || exchange->request == NULL)
        return;
    char address[ADDR_TEXT_SIZE];
    const struct http_forwarding forwarding = {
        .is_peer_trusted = exchange->client_ip.is_peer_trusted,
        .peer = client_peer_text(exchange->client, address),
        .scheme = SLICE("http"),
        .request_id = exchange->request_id,
        .tunnel = exchange->upgrade,
        .removed_names = exchange->client_ip.is_peer_trusted ? NULL : proxy->removed_names,
        .removed_count = exchange->client_ip.is_peer_trusted ? 0 : proxy->removed_count,
        .upstream_host = upstream_pool_host(proxy->parts.upstreams),
    };
    http_writer_request(&exchange->upstream_head, exchange->request, &forwarding);
}

static bool is_own_health_path(const struct http_request_head *request)
{
    bool is_get = slice_equal(request->method, SLICE("GET")) || request->is_head_method;
    return is_get && slice_equal(request->path, SLICE("/_gateway/health"));
}

static bool is_trace(const struct http_request_head *request)
{
    return slice_equal(request->method, SLICE("TRACE"));
}

void exchange_begin(struct client *client, const struct http_request_head *request)
{
    struct proxy *proxy = client->proxy;
    const struct client_options *options = proxy->settings.client;
    const struct http_head *head = &request->head;
    /* What is remembered, and the head once more with what the gateway adds to it. */
    size_t memo_size = 2 * head->bytes.length + 1024 + 4 * head->field_count;
    struct exchange *exchange = create(client, memo_size);
    exchange->request = request;
    keep_request(exchange, request);

    if (options->max_body > 0 && head->framing == HTTP_FRAMING_LENGTH &&
        head->content_length > options->max_body)
        answer_send(exchange, REPLY_CONTENT_TOO_LARGE, "body_too_large");
    else if (request->has_bad_expectation)
        answer_send(exchange, REPLY_EXPECTATION_FAILED, "expectation");
    else if (request->max_forwards == 0) /* it ends here (RFC 9110 7.6.2) */
        answer_send(exchange, is_trace(request) ? REPLY_NOT_IMPLEMENTED : REPLY_HEALTH, NULL);
    else if (is_own_health_path(request))
        answer_send(exchange, REPLY_HEALTH, NULL);
    else
        admission_begin(exchange);
    exchange->request = NULL;
    if (exchange->state == EXCHANGE_DONE)
        free_at_once(exchange);
    else
        remember_request(exchange);
}

void exchange_refuse(
    struct client *client, int status, const char *reason, struct slice method, struct slice target)
{
    struct exchange *exchange = create(client, method.length + target.length + 256);
    struct text memo;
    text_init(&memo, exchange->memo, exchange->memo_size);
    exchange->request_id = remember_id(exchange, &memo, SLICE(""));
    exchange->method = remember(&memo, method);
    exchange->target = remember(&memo, target);
    exchange->is_head_method = slice_equal(method, SLICE("HEAD"));
    exchange->request_body.is_complete = true; /* where it would end is not known */
    exchange->is_refused = true;
    answer_send(exchange, reply_kind_of_status(status), reason);
}

static void
on_connection(void *arg, enum upstream_outcome outcome, struct upstream_connection *connection);

static void acquire(struct exchange *exchange)
{
    const struct upstream_pool_query query = {
        .may_be_sent_twice = exchange->can_retry && exchange->retries == 0,
        .needs_new = exchange->retries > 0,
    };
    enum upstream_outcome outcome;
    struct upstream_connection *connection = NULL;
    exchange_enter(exchange, EXCHANGE_UPSTREAM);
    if (upstream_pool_acquire(exchange->proxy->parts.upstreams, &query, &outcome, &connection,
                              on_connection, exchange, &exchange->pool_call) == PROGRESS_DONE)
        on_connection(exchange, outcome, connection);
}

void exchange_forward(struct exchange *exchange)
{
    exchange_keep_head(exchange);
    if (exchange->upstream_head.overflow) {
        answer_send(exchange, REPLY_HEADER_FIELDS_TOO_LARGE, "head_too_large");
        return;
    }
    acquire(exchange);
}

static void
on_connection(void *arg, enum upstream_outcome outcome, struct upstream_connection *connection)
{
    static const enum reply_kind replies[UPSTREAM_OUTCOME_COUNT] = {
        [UPSTREAM_NOT_RESOLVED] = REPLY_BAD_GATEWAY,
        [UPSTREAM_CONNECT_FAILED] = REPLY_BAD_GATEWAY,
        [UPSTREAM_CONNECT_TIMEOUT] = REPLY_GATEWAY_TIMEOUT,
        [UPSTREAM_QUEUE_TIMEOUT] = REPLY_SERVICE_UNAVAILABLE,
    };
    struct exchange *exchange = arg;
    exchange->pool_call = NULL;
    if (outcome != UPSTREAM_CONNECTED) {
        metrics_count_upstream_error(exchange->proxy->parts.metrics,
                                     upstream_outcome_names[outcome]);
        answer_send(exchange, replies[outcome], upstream_outcome_names[outcome]);
        return;
    }
    exchange->upstream = connection;
    exchange->is_head_unsent = true;
    exchange->is_upload_broken = false; /* it may be the second connection */
    exchange->sent_us = loop_now(exchange->proxy->loop)->monotonic_us;
    stream_set_handler(&connection->stream, &response_handler, exchange);
    exchange_enter(exchange, EXCHANGE_REQUEST);
    client_feed(exchange->client); /* sends the head with what is there of the body */
}

size_t exchange_take(struct exchange *exchange, char *bytes, size_t length)
{
    switch (exchange->state) {
    case EXCHANGE_REQUEST:
    case EXCHANGE_RESPONSE:
        if (exchange->request_body.is_complete && !exchange->is_head_unsent)
            return 0;
        return relay_upload(exchange, bytes, length);
    case EXCHANGE_TUNNEL:
        return relay_tunnel_up(exchange, bytes, length);
    case EXCHANGE_REPLY:
        return relay_discard(exchange, bytes, length);
    case EXCHANGE_HEAD:
    case EXCHANGE_IDENTITY:
    case EXCHANGE_LIMIT:
    case EXCHANGE_UPSTREAM:
    case EXCHANGE_DONE:
    case EXCHANGE_STATE_COUNT:
        break;
    }
    return 0;
}

bool exchange_is_blocked(const struct exchange *exchange)
{
    return exchange->upstream != NULL && stream_pending(&exchange->upstream->stream) > 0;
}

void exchange_release_upstream(struct exchange *exchange, enum upstream_release release)
{
    loop_timer_stop(&exchange->timer);
    if (exchange->upstream != NULL)
        upstream_pool_release(&exchange->upstream, release);
}

void exchange_send_again(struct exchange *exchange)
{
    upstream_pool_report(exchange->upstream, true); /* any idle connection may end */
    exchange_release_upstream(exchange, UPSTREAM_CLOSE);
    exchange->retries = 1;
    metrics_add(exchange->proxy->parts.metrics, METRICS_UPSTREAM_RETRIES, 1);
    acquire(exchange);
}

void exchange_upstream_failed(struct exchange *exchange, enum reply_kind kind, const char *reason)
{
    bool was_reused = exchange->upstream->request_count > 0;
    if (was_reused && exchange->can_retry && exchange->retries == 0 && kind == REPLY_BAD_GATEWAY &&
        exchange->interim_count == 0 && exchange->response_input.length == 0) {
        exchange_send_again(exchange);
        return;
    }
    upstream_pool_report(exchange->upstream, was_reused);
    exchange_release_upstream(exchange, UPSTREAM_CLOSE);
    metrics_count_upstream_error(exchange->proxy->parts.metrics, reason);
    answer_send(exchange, kind, reason);
}

/* Everything of the answer has been given to the client's stream. */
void exchange_complete(struct exchange *exchange)
{
    if (exchange->state == EXCHANGE_RESPONSE)
        exchange_enter(exchange, EXCHANGE_REPLY);
    if (stream_pending(&exchange->client->stream) > 0)
        return; /* exchange_on_client_drained comes back */
    if (exchange->keep_alive && !exchange->request_body.is_complete) {
        client_feed(
            exchange->client); /* the rest of the body is dropped, then relay_discard comes back */
        return;
    }
    exchange_finish(exchange, exchange->keep_alive ? CLIENT_KEEP : CLIENT_CLOSE, exchange->reason);
}

void exchange_on_client_drained(struct exchange *exchange)
{
    loop_timer_stop(&exchange->write_timer);
    if (exchange->state == EXCHANGE_REPLY) {
        exchange_complete(exchange);
        return;
    }
    if (exchange->upstream == NULL)
        return;
    if (exchange->client_has_ended && exchange->upstream_has_ended) {
        exchange_finish(exchange, CLIENT_CLOSE, NULL);
        return;
    }
    if (exchange->state == EXCHANGE_RESPONSE)
        loop_timer_start(exchange->proxy->loop, &exchange->timer,
                         exchange->proxy->settings.upstream->read_timeout_ms);
    if (!exchange->upstream_has_ended)
        stream_resume(&exchange->upstream->stream);
}

void exchange_on_client_end(struct exchange *exchange)
{
    if (exchange->state == EXCHANGE_TUNNEL) {
        if (exchange->client->input.length == 0)
            relay_tunnel_end(exchange, true);
        return;
    }
    if (!exchange->request_body.is_complete) {
        client_close(exchange->client);
        return;
    }
    client_watch_half_close(exchange->client);
}

void exchange_on_client_lost(struct exchange *exchange, const char *reason)
{
    if (exchange->state == EXCHANGE_TUNNEL)
        reason = exchange->reason;
    exchange_finish(exchange, CLIENT_CLOSE, exchange->reason != NULL ? exchange->reason : reason);
}

void exchange_on_body_timeout(struct exchange *exchange)
{
    if (exchange->has_answer) {
        /* An answer that ends by the close is not to look whole. */
        bool would_look_whole =
            exchange->state == EXCHANGE_RESPONSE && exchange->is_close_delimited;
        exchange_finish(exchange, would_look_whole ? CLIENT_ABORT : CLIENT_CLOSE, "body_timeout");
        return;
    }
    exchange_release_upstream(exchange, UPSTREAM_CLOSE);
    answer_send(exchange, REPLY_REQUEST_TIMEOUT, "body_timeout");
}

/* No byte of an answer, or of the rest of one, within its time. */
static void on_upstream_deadline(void *arg)
{
    struct exchange *exchange = arg;
    if (exchange->state == EXCHANGE_REQUEST) {
        exchange_upstream_failed(exchange, REPLY_GATEWAY_TIMEOUT, "response_timeout");
    } else if (exchange->state == EXCHANGE_RESPONSE) {
        metrics_count_upstream_error(exchange->proxy->parts.metrics, "read_timeout");
        upstream_pool_report(exchange->upstream, false);
        exchange_finish(exchange, CLIENT_ABORT, "read_timeout");
    } else if (exchange->state == EXCHANGE_TUNNEL) {
        exchange_finish(exchange, CLIENT_CLOSE, "tunnel_idle");
    }
}

static void on_write_deadline(void *arg)
{
    struct exchange *exchange = arg;
    struct loop *loop = exchange->proxy->loop;
    int64_t limit_ms = exchange->proxy->settings.client->write_timeout_ms;
    int64_t idle_ms = loop_now_ms(loop) - exchange->client->stream.last_write_ms;
    if (idle_ms < limit_ms)
        loop_timer_start(loop, &exchange->write_timer, limit_ms - idle_ms);
    else
        exchange_finish(exchange, CLIENT_ABORT, "write_timeout");
}

void exchange_finish(struct exchange *exchange, enum client_fate fate, const char *reason)
{
    struct client *client = exchange->client;
    bool has_unread = !exchange->request_body.is_complete || exchange->is_refused;
    if (exchange->state == EXCHANGE_DONE)
        return;
    exchange->reason = reason;
    exchange_enter(exchange, EXCHANGE_DONE);
    admission_cancel(exchange);
    if (exchange->pool_call != NULL)
        upstream_pool_cancel(&exchange->pool_call);
    exchange_release_upstream(exchange, UPSTREAM_CLOSE);
    loop_timer_stop(&exchange->write_timer);
    admission_settle(exchange);
    record_write(exchange);
    loop_defer(exchange->proxy->loop, &exchange->free_task);
    client_exchange_done(client, fate, has_unread);
}
