/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a chunked body: a body cut anywhere comes to the same payload,
 * trailers and verdict, and what is written from it reads as the same again.
 * The first input byte says where to cut.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/http/body.h"
#include "kamiyo/http/writer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum http_body_status status;
    char *payload;
    size_t payload_length;
    size_t consumed;
    struct http_body body;
};

static void require(bool is_true)
{
    if (!is_true)
        abort();
}

static void decode(struct outcome *outcome, const char *bytes, size_t length, size_t cut)
{
    static const struct http_head head = {.framing = HTTP_FRAMING_CHUNKED};
    size_t at = 0;

    *outcome = (struct outcome){.status = HTTP_BODY_MORE, .payload = mem_alloc(length + 1)};
    http_body_init(&outcome->body, &head);
    while (at < length && outcome->status == HTTP_BODY_MORE) {
        size_t piece = at == 0 && cut > 0 && cut < length ? cut : length - at;
        char *copy = mem_copy_bytes(bytes + at, piece);
        size_t payload;
        size_t consumed;

        outcome->status = http_body_decode(&outcome->body, copy, piece, &payload, &consumed);
        require(payload <= consumed && consumed <= piece);
        memcpy(outcome->payload + outcome->payload_length, copy, payload);
        outcome->payload_length += payload;
        at += consumed;
        mem_free(copy);
    }
    outcome->consumed = at;
}

static void clear(struct outcome *outcome)
{
    http_body_clear(&outcome->body);
    mem_free(outcome->payload);
}

static void require_same_content(const struct outcome *a, const struct outcome *b)
{
    require(a->status == b->status && a->payload_length == b->payload_length);
    require(memcmp(a->payload, b->payload, a->payload_length) == 0);
    if (a->status == HTTP_BODY_DONE) {
        require(a->body.trailers_length == b->body.trailers_length);
        require(a->body.trailers_length == 0 ||
                memcmp(a->body.trailers, b->body.trailers, a->body.trailers_length) == 0);
    }
}

static void check_written(const struct outcome *in)
{
    size_t capacity = in->payload_length + in->body.trailers_length + 64;
    char *buffer = mem_alloc(capacity);
    struct text out;
    struct outcome again;

    text_init(&out, buffer, capacity);
    if (in->payload_length > 0) {
        char head[HTTP_WRITER_CHUNK_SIZE];

        text_append(&out, (struct slice){head, http_writer_chunk_head(head, in->payload_length)});
        text_append(&out, (struct slice){in->payload, in->payload_length});
        text_append(&out, SLICE("\r\n"));
    }
    text_append(&out, SLICE("0\r\n"));
    text_append(&out, (struct slice){in->body.trailers, in->body.trailers_length});
    text_append(&out, SLICE("\r\n"));
    require(!out.overflow);
    /* A trailer section near its bound grows by the spaces that are written after the colons. */
    if (in->body.trailer_bytes < HTTP_BODY_MAX_TRAILER_BYTES / 2) {
        decode(&again, buffer, out.length, 0);
        require(again.consumed == out.length);
        require_same_content(in, &again);
        clear(&again);
    }
    mem_free(buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole;
    struct outcome cut;

    if (size < 2)
        return 0;
    decode(&whole, (const char *)data + 1, size - 1, 0);
    decode(&cut, (const char *)data + 1, size - 1, data[0]);
    require(whole.consumed == cut.consumed);
    require_same_content(&whole, &cut);
    if (whole.status == HTTP_BODY_DONE)
        check_written(&whole);
    clear(&cut);
    clear(&whole);
    return 0;
}
