/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a head. Held against two properties: a head cut anywhere comes
 * to the same, and what the writer makes of an accepted head is accepted again,
 * with the same framing, target and end-to-end fields. The first input byte
 * chooses request or response and where to cut.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kamiyo/http/parser.h"
#include "kamiyo/http/writer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_FIELDS 64

static const struct http_limits limits = {
    .max_head_bytes = 2048, .max_target_bytes = 512, .max_fields = MAX_FIELDS};
/* What is written may be longer than what came. */
static const struct http_limits wide_limits = {
    .max_head_bytes = 16384, .max_target_bytes = 8192, .max_fields = MAX_FIELDS + 16};

struct outcome {
    enum http_parser_status status;
    int error_status;
    size_t consumed;
    struct http_parser_field spans[MAX_FIELDS + 16];
    struct http_field fields[MAX_FIELDS + 16];
    struct http_request_head request;
    struct http_response_head response;
};

static void require(bool is_true)
{
    if (!is_true)
        abort();
}

static void parse(struct outcome *outcome,
                  bool is_response,
                  const struct http_limits *bounds,
                  const char *bytes,
                  size_t length,
                  size_t cut)
{
    struct http_parser parser;

    memset(outcome, 0, sizeof(*outcome));
    outcome->request.head.fields = outcome->fields;
    outcome->response.head.fields = outcome->fields;
    if (is_response)
        http_parser_init_response(&parser, bounds, outcome->spans);
    else
        http_parser_init_request(&parser, bounds, outcome->spans);
    for (size_t end = cut < length ? cut : length;; end = length) {
        outcome->status = is_response ? http_parser_response(&parser, bytes, end, false,
                                                             &outcome->response, &outcome->consumed)
                                      : http_parser_request(&parser, bytes, end, &outcome->request,
                                                            &outcome->consumed);
        if (outcome->status != HTTP_PARSER_MORE || end == length)
            break;
    }
    outcome->error_status = parser.error_status;
}

/* A line that may be copied as it stands is what would be written. */
static void require_plain(const struct http_field *field)
{
    const char *line = field->name.data;
    size_t length = field->name.length;

    if (!field->is_plain_line)
        return;
    require(memcmp(line + length, ": ", 2) == 0 && field->value.data == line + length + 2);
    require(memcmp(field->value.data + field->value.length, "\r\n", 2) == 0);
}

static void require_same(const struct outcome *a, const struct outcome *b, bool is_response)
{
    const struct http_head *x = is_response ? &a->response.head : &a->request.head;
    const struct http_head *y = is_response ? &b->response.head : &b->request.head;

    require(a->status == b->status && a->error_status == b->error_status);
    if (a->status != HTTP_PARSER_HEAD)
        return;
    require(a->consumed == b->consumed && x->field_count == y->field_count &&
            x->framing == y->framing);
    require(x->content_length == y->content_length && x->keep_alive == y->keep_alive);
    for (size_t i = 0; i < x->field_count; i++) {
        require(slice_equal(x->fields[i].name, y->fields[i].name));
        require(slice_equal(x->fields[i].value, y->fields[i].value));
        require(x->fields[i].id == y->fields[i].id && x->fields[i].is_hop == y->fields[i].is_hop);
        require_plain(&x->fields[i]);
        require_plain(&y->fields[i]);
    }
    require(memcmp(x->first, y->first, sizeof(x->first)) == 0 && x->repeated == y->repeated);
}

/* Each field of `from` that is to go on stands in `to`, in the same order. */
static void require_passed(const struct http_head *from, const struct http_head *to)
{
    size_t at = 0;

    for (size_t i = 0; i < from->field_count; i++) {
        const struct http_field *field = &from->fields[i];

        if (field->is_hop || field->id == HTTP_FIELD_HOST || field->id == HTTP_FIELD_EXPECT ||
            field->id == HTTP_FIELD_MAX_FORWARDS || field->id == HTTP_FIELD_TRAILER ||
            field->id == HTTP_FIELD_X_FORWARDED_FOR || field->id == HTTP_FIELD_X_REQUEST_ID)
            continue;
        while (at < to->field_count && !(slice_equal(to->fields[at].name, field->name) &&
                                         slice_equal(to->fields[at].value, field->value)))
            at++;
        require(at < to->field_count);
        at++;
    }
}

static void check_request(const struct outcome *in)
{
    static struct outcome again;
    static char buffer[16384];
    struct text out;
    struct http_forwarding forwarding = {.is_peer_trusted = true,
                                         .peer = {"192.0.2.1", 9},
                                         .scheme = {"http", 4},
                                         .request_id = {"r", 1},
                                         .upstream_host = {"u", 1}};

    text_init(&out, buffer, sizeof(buffer));
    http_writer_request(&out, &in->request, &forwarding);
    require(!out.overflow);
    parse(&again, false, &wide_limits, buffer, out.length, out.length);
    require(again.status == HTTP_PARSER_HEAD && again.consumed == out.length);
    require(again.request.head.framing == in->request.head.framing);
    require(again.request.head.content_length == in->request.head.content_length);
    require(slice_equal(again.request.method, in->request.method));
    require(slice_equal(again.request.path, in->request.path));
    require(in->request.host.length == 0 || slice_equal(again.request.host, in->request.host));
    require_passed(&in->request.head, &again.request.head);
}

static void check_response(const struct outcome *in)
{
    static struct outcome again;
    static char buffer[16384];
    struct text out;
    enum http_framing framing = in->response.head.framing;
    struct http_delivery delivery = {.client_minor_version = 1,
                                     .framing = framing,
                                     .content_length = in->response.head.content_length,
                                     .keep_alive = true,
                                     .request_id = {"r", 1},
                                     .date = {"d", 1}};

    if (framing == HTTP_FRAMING_UNTIL_CLOSE)
        delivery.framing = HTTP_FRAMING_CHUNKED;
    text_init(&out, buffer, sizeof(buffer));
    http_writer_response(&out, &in->response, &delivery);
    require(!out.overflow);
    parse(&again, true, &wide_limits, buffer, out.length, out.length);
    require(again.status == HTTP_PARSER_HEAD && again.consumed == out.length);
    require(again.response.status == in->response.status);
    require(slice_equal(again.response.reason, in->response.reason));
    if (framing != HTTP_FRAMING_NONE)
        require(again.response.head.framing == delivery.framing);
    require_passed(&in->response.head, &again.response.head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct outcome whole;
    static struct outcome cut;
    bool is_response;
    const char *bytes;

    if (size < 1)
        return 0;
    is_response = (data[0] & 1) != 0;
    bytes = (const char *)data + 1;
    size--;
    parse(&whole, is_response, &limits, bytes, size, size);
    parse(&cut, is_response, &limits, bytes, size, data[0] >> 1);
    require_same(&whole, &cut, is_response);
    if (whole.status != HTTP_PARSER_HEAD)
        return 0;
    if (is_response)
        check_response(&whole);
    else
        check_request(&whole);
    return 0;
}
