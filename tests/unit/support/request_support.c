/* SPDX-License-Identifier: MIT */
/* Request heads made by hand: the fields' slices point into the texts that the test passes. */
#include "request_support.h"

#include <assert.h>
#include <string.h>

void request_add(struct request_fixture *fixture, struct slice name, struct slice value)
{
    struct http_head *head = &fixture->request.head;
    struct http_field *field = &head->fields[head->field_count];

    assert(head->field_count < REQUEST_MAX_FIELDS);
    *field =
        (struct http_field){.name = name, .value = slice_trim(value), .id = http_field_id_of(name)};
    if (head->first[field->id] < 0)
        head->first[field->id] = (int16_t)head->field_count;
    else
        head->repeated |= HTTP_FIELD_BIT(field->id);
    head->field_count++;
}

void request_make(struct request_fixture *fixture,
                  const char *method,
                  const char *target,
                  const char *const *lines)
{
    struct http_request_head *request = &fixture->request;
    struct slice whole = slice_of(target);

    memset(fixture, 0, sizeof(*fixture));
    request->head.fields = fixture->fields;
    request->head.minor_version = 1;
    for (size_t i = 0; i < HTTP_FIELD_COUNT; i++)
        request->head.first[i] = -1;
    request->method = slice_of(method);
    request->target = whole;
    request->path_query = whole;
    request->path = (struct slice){whole.data, slice_find(whole, '?')};
    for (; lines != NULL && *lines != NULL; lines++) {
        struct slice line = slice_of(*lines);
        size_t colon = slice_find(line, ':');

        request_add(fixture, (struct slice){line.data, colon},
                    (struct slice){line.data + colon + 1, line.length - colon - 1});
    }
    request->host = slice_trim(http_head_find(&request->head, HTTP_FIELD_HOST));
}
