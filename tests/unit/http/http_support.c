/* SPDX-License-Identifier: MIT */
/*
 * The ways to cut a message, and what it means that two parses agree.
 */
#include "http_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/mem.h"

const struct http_limits http_support_limits = {
    .max_head_bytes = 4096,
    .max_target_bytes = 256,
    .max_fields = 40,
};

static void give(struct parsed *parsed, enum parsed_kind kind, size_t length)
{
    if (kind == PARSED_REQUEST)
        parsed->status = http_parser_request(&parsed->parser, parsed->bytes, length,
                                             &parsed->request, &parsed->consumed);
    else
        parsed->status = http_parser_response(&parsed->parser, parsed->bytes, length,
                                              kind == PARSED_RESPONSE_TO_HEAD, &parsed->response,
                                              &parsed->consumed);
    parsed->error_status = parsed->parser.error_status;
    parsed->error_reason = parsed->parser.error_reason;
}

void parsed_init(struct parsed *parsed,
                 enum parsed_kind kind,
                 const struct http_limits *limits,
                 const char *bytes,
                 size_t length,
                 const size_t *cuts,
                 size_t cut_count)
{
    memset(parsed, 0, sizeof(*parsed));
    parsed->request.head.fields = parsed->fields;
    parsed->response.head.fields = parsed->fields;
    if (kind == PARSED_REQUEST)
        http_parser_init_request(&parsed->parser, limits, parsed->spans);
    else
        http_parser_init_response(&parsed->parser, limits, parsed->spans);
    for (size_t i = 0; i <= cut_count; i++) {
        size_t end = i < cut_count ? cuts[i] : length;
        char *moved = mem_copy_bytes(bytes, end);

        moved = mem_resize(moved, end > 0 ? end : 1);
        mem_free(parsed->bytes);
        parsed->bytes = moved;
        give(parsed, kind, end);
        if (parsed->status != HTTP_PARSER_MORE)
            return;
    }
}

void parsed_clear(struct parsed *parsed)
{
    mem_free(parsed->bytes);
    parsed->bytes = NULL;
}

static bool heads_equal(const struct http_head *a, const struct http_head *b)
{
    if (!slice_equal(a->bytes, b->bytes) || a->minor_version != b->minor_version ||
        a->field_count != b->field_count || a->framing != b->framing ||
        a->content_length != b->content_length || a->keep_alive != b->keep_alive ||
        a->has_upgrade != b->has_upgrade || a->has_te_trailers != b->has_te_trailers ||
        a->repeated != b->repeated || memcmp(a->first, b->first, sizeof(a->first)) != 0)
        return false;
    for (size_t i = 0; i < a->field_count; i++) {
        if (!slice_equal(a->fields[i].name, b->fields[i].name) ||
            !slice_equal(a->fields[i].value, b->fields[i].value) ||
            a->fields[i].id != b->fields[i].id || a->fields[i].is_hop != b->fields[i].is_hop)
            return false;
    }
    return true;
}

bool parsed_equal(const struct parsed *a, const struct parsed *b)
{
    if (a->status != b->status || a->error_status != b->error_status || a->consumed != b->consumed)
        return false;
    if (a->status != HTTP_PARSER_HEAD)
        return true;
    if (a->parser.is_response)
        return a->response.status == b->response.status &&
               slice_equal(a->response.reason, b->response.reason) &&
               heads_equal(&a->response.head, &b->response.head);
    return slice_equal(a->request.method, b->request.method) &&
           slice_equal(a->request.target, b->request.target) &&
           slice_equal(a->request.path, b->request.path) &&
           slice_equal(a->request.path_query, b->request.path_query) &&
           slice_equal(a->request.host, b->request.host) && a->request.form == b->request.form &&
           heads_equal(&a->request.head, &b->request.head);
}

static void check_cut(const struct parsed *whole,
                      enum parsed_kind kind,
                      const struct http_limits *limits,
                      const char *bytes,
                      size_t length,
                      const size_t *cuts,
                      size_t cut_count)
{
    static struct parsed other; /* large */

    parsed_init(&other, kind, limits, bytes, length, cuts, cut_count);
    if (!parsed_equal(whole, &other)) {
        print_error("cut at %zu (%zu cuts) of \"%.*s\": status %d error %d (%s), whole: status %d "
                    "error %d (%s)\n",
                    cuts[0], cut_count, (int)length, bytes, (int)other.status, other.error_status,
                    other.error_reason != NULL ? other.error_reason : "", (int)whole->status,
                    whole->error_status, whole->error_reason != NULL ? whole->error_reason : "");
        fail();
    }
    parsed_clear(&other);
}

void parsed_init_all_ways(struct parsed *parsed,
                          enum parsed_kind kind,
                          const struct http_limits *limits,
                          const char *bytes,
                          size_t length)
{
    size_t *cuts = mem_alloc((length + 1) * sizeof(*cuts));

    parsed_init(parsed, kind, limits, bytes, length, NULL, 0);
    for (size_t i = 0; i <= length; i++)
        cuts[i] = i;
    for (size_t i = 0; i < length; i++)
        check_cut(parsed, kind, limits, bytes, length, &cuts[i], 1);
    check_cut(parsed, kind, limits, bytes, length, cuts, length);
    mem_free(cuts);
}

void http_support_refuse(const struct http_refusal *vectors, size_t count, enum parsed_kind kind)
{
    static struct parsed parsed; /* too large for the stack */
    size_t wrong = 0;

    for (size_t i = 0; i < count; i++) {
        parsed_init_all_ways(&parsed, kind, &http_support_limits, vectors[i].bytes,
                             vectors[i].length);
        if (parsed.status != HTTP_PARSER_ERROR || parsed.error_status != vectors[i].status) {
            print_error("\"%.*s\": status %d, error %d (%s), expected %d\n", (int)vectors[i].length,
                        vectors[i].bytes, (int)parsed.status, parsed.error_status,
                        parsed.error_reason != NULL ? parsed.error_reason : "", vectors[i].status);
            wrong++;
        }
        if (parsed.status == HTTP_PARSER_ERROR)
            assert_non_null(parsed.error_reason);
        parsed_clear(&parsed);
    }
    assert_int_equal(wrong, 0);
}
