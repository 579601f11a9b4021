/* SPDX-License-Identifier: MIT */
/*
 * Heads as they arrive. A request line is read here byte by byte, because
 * llhttp's reading of it is too kind (several spaces, no version, RTSP) and
 * its errors do not tell 400, 414, 501 and 505 apart. Once the line is whole
 * and good, the fields follow: of a usual head that is there as a whole in one
 * pass (head_scan.c), of any other by llhttp.
 *
 * Every verdict is reached at a byte that does not depend on how the head was
 * cut: the line scanner and llhttp go byte by byte, llhttp never sees a byte
 * past max_head_bytes, and the checks of the fields wait for the whole head.
 */
#include "kamiyo/http/parser.h"

#include <assert.h>
#include <string.h>

#include "http/http_internal.h"

/* Longest method that is waited for; the longest that llhttp knows has 11 letters. */
#define MAX_METHOD_BYTES 32
#define VERSION_LENGTH   8 /* "HTTP/1.1" */

enum line_state {
    LINE_METHOD,
    LINE_TARGET,
    LINE_VERSION,
    LINE_CR,
    LINE_LF,
    LINE_DONE,
};

static struct http_parser *parser_of(llhttp_t *llhttp)
{
    return CONTAINER_OF(llhttp, struct http_parser, llhttp);
}

static struct slice slice_at(const char *bytes, struct http_parser_span span)
{
    return (struct slice){bytes + span.offset, span.length};
}

static enum http_parser_status refuse(struct http_parser *parser, int status, const char *reason)
{
    parser->error_status = parser->is_response ? 502 : status;
    parser->error_reason = reason;
    return HTTP_PARSER_ERROR;
}

/*
 * llhttp gives a span in pieces when a call ends in its middle. A piece that begins where the
 * last one ended goes on with it: between two names there is always a ":" and an end of line.
 */
static int on_field_name(llhttp_t *llhttp, const char *at, size_t length)
{
    struct http_parser *parser = parser_of(llhttp);
    uint32_t offset = (uint32_t)(at - parser->base);
    struct http_parser_field *field;

    if (parser->field_count > 0) {
        field = &parser->fields[parser->field_count - 1];
        if (field->name.offset + field->name.length == offset) {
            field->name.length += (uint32_t)length;
            return HPE_OK;
        }
    }
    if (parser->field_count == parser->limits->max_fields) {
        (void)refuse(parser, 431,
                     "too many header fields"); /* llhttp_execute's result carries it on */
        return HPE_USER;
    }
    field = &parser->fields[parser->field_count++];
    field->name = (struct http_parser_span){offset, (uint32_t)length};
    field->value = (struct http_parser_span){offset, 0};
    return HPE_OK;
}

static int on_field_value(llhttp_t *llhttp, const char *at, size_t length)
{
    struct http_parser *parser = parser_of(llhttp);
    struct http_parser_span *value = &parser->fields[parser->field_count - 1].value;

    if (value->length == 0)
        value->offset = (uint32_t)(at - parser->base);
    value->length += (uint32_t)length;
    return HPE_OK;
}

/* The body is read elsewhere (body.c). */
static int on_head_complete(llhttp_t *llhttp)
{
    (void)llhttp;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_field_name,
    .on_header_value = on_field_value,
    .on_headers_complete = on_head_complete,
};

size_t http_parser_fields_size(const struct http_limits *limits)
{
    return limits->max_fields * sizeof(struct http_parser_field);
}

static void
init(struct http_parser *parser, const struct http_limits *limits, struct http_parser_field *fields)
{
    assert(limits->max_fields <= HTTP_PARSER_MAX_FIELDS && limits->max_head_bytes < UINT32_MAX);
    parser->limits = limits;
    parser->base = NULL;
    parser->scanned = 0;
    parser->parsed = 0;
    parser->fields = fields;
    parser->field_count = 0;
    parser->error_status = 0;
    parser->error_reason = NULL;
    parser->line_state = LINE_METHOD;
    parser->method = parser->target =
        (struct http_parser_span){0, 0}; /* read after an error, too */
}

void http_parser_init_request(struct http_parser *parser,
                              const struct http_limits *limits,
                              struct http_parser_field *fields)
{
    parser->is_response = false;
    init(parser, limits, fields);
}

void http_parser_init_response(struct http_parser *parser,
                               const struct http_limits *limits,
                               struct http_parser_field *fields)
{
    parser->is_response = true;
    init(parser, limits, fields);
}

size_t http_parser_skip_empty_lines(const char *bytes, size_t length)
{
    size_t skipped = 0;

    while (skipped + 2 <= length && bytes[skipped] == '\r' && bytes[skipped + 1] == '\n')
        skipped += 2;
    return skipped;
}

/*
 * Any token is a method and passes (RFC 9110 9.1), but two: a tunnel to anywhere is not this
 * gateway's to give, and PRI begins HTTP/2 (RFC 9113 3.4).
 */
static bool is_served_method(struct slice method)
{
    return !slice_equal(method, SLICE("CONNECT")) && !slice_equal(method, SLICE("PRI"));
}

/* Each reads its part of the request line from `at` on and returns how far it came; errors are in
 * the parser. */
static size_t scan_method(struct http_parser *parser, const char *bytes, size_t at, size_t end)
{
    while (at < end && http_byte_is(bytes[at], HTTP_BYTE_TOKEN) && at < MAX_METHOD_BYTES)
        at++;
    if (at == end)
        return at;
    if (bytes[at] != ' ' || at == 0) {
        bool is_long = at == MAX_METHOD_BYTES && http_byte_is(bytes[at], HTTP_BYTE_TOKEN);

        (void)refuse(parser, is_long ? 501 : 400,
                     is_long ? "the method is too long" : "malformed method");
        return at;
    }
    parser->method = (struct http_parser_span){0, (uint32_t)at};
    parser->target = (struct http_parser_span){(uint32_t)at + 1, 0};
    parser->line_state = LINE_TARGET;
    return at + 1;
}

static size_t scan_target(struct http_parser *parser, const char *bytes, size_t at, size_t end)
{
    size_t bound = parser->target.offset + parser->limits->max_target_bytes;

    if (bound > end)
        bound = end;
    while (at < bound && http_byte_is(bytes[at], HTTP_BYTE_TARGET))
        at++;
    if (at == end)
        return at;
    if (http_byte_is(bytes[at], HTTP_BYTE_TARGET)) {
        (void)refuse(parser, 414, "the target is too long");
    } else if (bytes[at] != ' ') {
        (void)refuse(parser, 400, "malformed target");
    } else if (at == parser->target.offset) {
        (void)refuse(parser, 400, "two spaces before the target");
    } else {
        parser->target.length = (uint32_t)(at - parser->target.offset);
        parser->line_state = LINE_VERSION;
        at++;
    }
    return at;
}

static size_t scan_version(struct http_parser *parser, const char *bytes, size_t at, size_t end)
{
    static const char pattern[VERSION_LENGTH + 1] = "HTTP/0.0";
    size_t start = parser->target.offset + parser->target.length + 1;

    if (at == start && end - at >= VERSION_LENGTH && memcmp(bytes + at, "HTTP/1.1", 8) == 0) {
        parser->line_state = LINE_CR;
        return at + VERSION_LENGTH;
    }
    for (; at < end && at < start + VERSION_LENGTH; at++) {
        char expected = pattern[at - start];

        if (expected == '0' ? bytes[at] < '0' || bytes[at] > '9' : bytes[at] != expected) {
            (void)refuse(parser, 400, "malformed version");
            return at;
        }
    }
    if (at == start + VERSION_LENGTH)
        parser->line_state = LINE_CR;
    return at;
}

/* The line is well formed: is it one that we serve? */
static void judge_line(struct http_parser *parser, const char *bytes)
{
    const char *version = bytes + parser->target.offset + parser->target.length + 1;

    if (memcmp(version, "HTTP/0", 6) == 0)
        (void)refuse(parser, 400, "HTTP/0.9");
    else if (memcmp(version, "HTTP/1.", 7) != 0 || version[7] > '1')
        (void)refuse(parser, 505, "HTTP version other than 1.0 and 1.1");
    else if (!is_served_method((struct slice){bytes, parser->method.length}))
        (void)refuse(parser, 501, "CONNECT or PRI");
}

static void scan_request_line(struct http_parser *parser, const char *bytes, size_t end)
{
    size_t at = parser->scanned;

    while (at < end && parser->line_state != LINE_DONE && parser->error_status == 0) {
        switch (parser->line_state) {
        case LINE_METHOD:
            at = scan_method(parser, bytes, at, end);
            break;
        case LINE_TARGET:
            at = scan_target(parser, bytes, at, end);
            break;
        case LINE_VERSION:
            at = scan_version(parser, bytes, at, end);
            break;
        case LINE_CR:
            if (bytes[at++] != '\r')
                (void)refuse(parser, 400, "malformed version");
            parser->line_state = LINE_LF;
            break;
        case LINE_LF:
            if (bytes[at++] != '\n')
                (void)refuse(parser, 400, "bare CR after the version");
            else
                judge_line(parser, bytes);
            parser->line_state = LINE_DONE;
            break;
        case LINE_DONE:
            break;
        }
    }
    parser->scanned = at;
}

/* The whole line at once, if it is here and nothing is wrong with it. */
static bool read_usual_line(struct http_parser *parser, const char *bytes, size_t end)
{
    size_t length = 0;

    if (parser->scanned == 0)
        length = head_scan_request_line(bytes, end, &parser->method, &parser->target);
    if (length == 0 || parser->target.length > parser->limits->max_target_bytes ||
        !is_served_method((struct slice){bytes, parser->method.length}))
        return false;
    parser->scanned = length;
    parser->line_state = LINE_DONE;
    return true;
}

/*
 * llhttp knows a fixed set of methods and has already nothing to say about the rest of a line that
 * was read above: it is given a plain one of the same version, and then the fields.
 */
static void stand_in_for_line(struct http_parser *parser, const char *bytes)
{
    static const char lines[2][17 + 1] = {"POST / HTTP/1.0\r\n", "POST / HTTP/1.1\r\n"};
    int minor = bytes[parser->scanned - 3] - '0';

    (void)llhttp_execute(&parser->llhttp, lines[minor], 17); /* nothing in it can fail */
    parser->parsed = parser->scanned;
}

/* A response's start line, as usual as its fields: "HTTP/1.x NNN" and a reason or none. */
static size_t scan_status_line(const char *bytes, size_t end)
{
    size_t length = head_scan_line(bytes, end);
    bool is_usual = length >= 14 && memcmp(bytes, "HTTP/1.", 7) == 0 &&
                    (bytes[7] == '0' || bytes[7] == '1') && bytes[8] == ' ' && bytes[9] >= '1';

    for (size_t i = 9; is_usual && i < 12; i++)
        is_usual = bytes[i] >= '0' && bytes[i] <= '9';
    if (!is_usual || (bytes[12] != ' ' && length > 14))
        return 0;
    return length;
}

/* The whole head in one pass, if it is here and usual; `start` = behind the start line. */
static bool read_usual(const struct http_parser *parser,
                       const char *bytes,
                       size_t start,
                       size_t end,
                       struct http_head *head,
                       size_t *consumed)
{
    size_t length = 0;

    if (start > 0)
        length = head_scan_fields(bytes, start, end, head, parser->limits->max_fields);
    if (length == 0)
        return false;
    head->minor_version = bytes[parser->is_response ? 7 : start - 3] - '0';
    *consumed = length;
    return true;
}

static void copy_fields(const struct http_parser *parser, const char *bytes, struct http_head *head)
{
    head->minor_version = parser->llhttp.http_minor;
    http_fields_begin(head);
    for (size_t i = 0; i < parser->field_count; i++)
        http_fields_add(head, slice_at(bytes, parser->fields[i].name),
                        slice_at(bytes, parser->fields[i].value));
}

/* Let llhttp go on with bytes[parsed..end). */
static enum http_parser_status run_llhttp(struct http_parser *parser,
                                          const char *bytes,
                                          size_t end,
                                          struct http_head *head,
                                          size_t *consumed)
{
    llhttp_errno_t result;

    parser->base = bytes;
    result = llhttp_execute(&parser->llhttp, bytes + parser->parsed, end - parser->parsed);
    parser->base = NULL;
    if (result == HPE_PAUSED) {
        *consumed = (size_t)(llhttp_get_error_pos(&parser->llhttp) - bytes);
        copy_fields(parser, bytes, head);
        return HTTP_PARSER_HEAD;
    }
    if (result != HPE_OK) {
        if (parser->error_status == 0)
            return refuse(parser, 400, llhttp_get_error_reason(&parser->llhttp));
        return HTTP_PARSER_ERROR;
    }
    parser->parsed = end;
    return HTTP_PARSER_MORE;
}

/* HEAD: *consumed is the head's length, and the head has its fields and its version. */
static enum http_parser_status feed(struct http_parser *parser,
                                    const char *bytes,
                                    size_t length,
                                    struct http_head *head,
                                    size_t *consumed)
{
    size_t end = length < parser->limits->max_head_bytes ? length : parser->limits->max_head_bytes;
    enum http_parser_status status = HTTP_PARSER_MORE;

    if (!parser->is_response && parser->line_state != LINE_DONE) {
        if (!read_usual_line(parser, bytes, end))
            scan_request_line(parser, bytes, end);
        if (parser->error_status != 0)
            return HTTP_PARSER_ERROR;
        if (parser->line_state != LINE_DONE) {
            if (end < parser->limits->max_head_bytes)
                return HTTP_PARSER_MORE;
            return refuse(parser, parser->line_state == LINE_TARGET ? 414 : 431,
                          "the head is too long");
        }
    }
    if (parser->parsed == 0) { /* llhttp has seen nothing of this head yet, and need not */
        size_t start = parser->is_response ? scan_status_line(bytes, end) : parser->scanned;

        if (read_usual(parser, bytes, start, end, head, consumed)) {
            parser->scanned = start;
            return HTTP_PARSER_HEAD;
        }
        llhttp_init(&parser->llhttp, parser->is_response ? HTTP_RESPONSE : HTTP_REQUEST, &settings);
        if (!parser->is_response)
            stand_in_for_line(parser, bytes);
    }
    if (end > parser->parsed)
        status = run_llhttp(parser, bytes, end, head, consumed);
    if (status == HTTP_PARSER_MORE && end == parser->limits->max_head_bytes)
        return refuse(parser, 431, "the head is too long");
    return status;
}

/* "100-continue" alone is understood (RFC 9110 10.1.1); an HTTP/1.0 client cannot mean it. */
static void resolve_expectation(struct http_request_head *request)
{
    const struct http_head *head = &request->head;

    request->expects_continue = false;
    request->has_bad_expectation = false;
    for (const struct http_field *field = http_head_next(head, HTTP_FIELD_EXPECT, NULL);
         field != NULL; field = http_head_next(head, HTTP_FIELD_EXPECT, field)) {
        struct slice list = field->value;
        struct slice part;

        while (slice_cut(&list, ',', &part)) {
            part = slice_trim(part);
            if (slice_equal_ignore_case(part, SLICE("100-continue")))
                request->expects_continue = head->minor_version >= 1;
            else if (part.length > 0)
                request->has_bad_expectation = true;
        }
    }
}

static bool method_is(const struct http_request_head *request, struct slice method)
{
    return slice_equal(request->method, method);
}

static void resolve_method(struct http_request_head *request)
{
    bool has_hop_count = method_is(request, SLICE("OPTIONS")) || method_is(request, SLICE("TRACE"));
    uint64_t hops;

    request->is_head_method = method_is(request, SLICE("HEAD"));
    request->is_idempotent = has_hop_count || request->is_head_method ||
                             method_is(request, SLICE("GET")) || method_is(request, SLICE("PUT")) ||
                             method_is(request, SLICE("DELETE"));
    request->max_forwards = -1;
    if (has_hop_count &&
        slice_parse_u64(http_head_find(&request->head, HTTP_FIELD_MAX_FORWARDS), &hops))
        request->max_forwards = hops < INT64_MAX ? (int64_t)hops : INT64_MAX;
}

enum http_parser_status http_parser_request(struct http_parser *parser,
                                            const char *bytes,
                                            size_t length,
                                            struct http_request_head *head,
                                            size_t *consumed)
{
    size_t head_length;
    struct http_verdict verdict;
    enum http_parser_status status = feed(parser, bytes, length, &head->head, &head_length);

    if (status != HTTP_PARSER_HEAD)
        return status;
    head->method = slice_at(bytes, parser->method);
    head->target = slice_at(bytes, parser->target);
    head->head.bytes = (struct slice){bytes, head_length};
    verdict = http_fields_resolve(&head->head);
    if (verdict.status == 0)
        verdict = http_framing_of_request(&head->head);
    if (verdict.status == 0)
        verdict = http_target_resolve(head);
    if (verdict.status != 0)
        return refuse(parser, verdict.status, verdict.reason);
    resolve_method(head);
    resolve_expectation(head);
    *consumed = head_length;
    return HTTP_PARSER_HEAD;
}

/* "HTTP/1.x NNN" and then " reason" or nothing, which llhttp reads with RTSP and other versions
 * besides. With the line's length, if it was found usual: then its bytes are printable. */
static struct http_verdict read_status_line(const char *bytes,
                                            size_t length,
                                            size_t line_length,
                                            struct http_response_head *head)
{
    const char *line_end = line_length > 0 ? bytes + line_length - 2 : memchr(bytes, '\r', length);

    if (line_end == NULL || line_end - bytes < 12 || memcmp(bytes, "HTTP/1.", 7) != 0 ||
        bytes[7] > '1')
        return (struct http_verdict){502, "HTTP version other than 1.0 and 1.1"};
    head->status = (bytes[9] - '0') * 100 + (bytes[10] - '0') * 10 + (bytes[11] - '0');
    if (head->status < 100)
        return (struct http_verdict){502, "status below 100"};
    head->reason = (struct slice){line_end, 0};
    if (line_end - bytes > 13)
        head->reason = (struct slice){bytes + 13, (size_t)(line_end - bytes) - 13};
    if (line_length == 0 && !http_bytes_are(head->reason, HTTP_BYTE_VALUE))
        return (struct http_verdict){502, "a control byte in the reason phrase"};
    return HTTP_VERDICT_OK;
}

enum http_parser_status http_parser_response(struct http_parser *parser,
                                             const char *bytes,
                                             size_t length,
                                             bool to_head,
                                             struct http_response_head *head,
                                             size_t *consumed)
{
    size_t head_length;
    struct http_verdict verdict;
    enum http_parser_status status;

    if (length > 0 && bytes[0] != 'H')
        return refuse(parser, 502, "the answer does not begin with HTTP/");
    status = feed(parser, bytes, length, &head->head, &head_length);
    if (status != HTTP_PARSER_HEAD)
        return status;
    head->head.bytes = (struct slice){bytes, head_length};
    verdict = read_status_line(bytes, head_length, parser->scanned, head);
    if (verdict.status == 0)
        verdict = http_fields_resolve(&head->head);
    if (verdict.status == 0)
        verdict =
            http_framing_of_response(&head->head, to_head || head->status < 200 ||
                                                      head->status == 204 || head->status == 304);
    if (verdict.status != 0)
        return refuse(parser, verdict.status, verdict.reason);
    *consumed = head_length;
    return HTTP_PARSER_HEAD;
}
