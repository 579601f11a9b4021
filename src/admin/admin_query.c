/* SPDX-License-Identifier: MIT */
/*
 * Reading a request to the admin listener: parameters of its query, and what is
 * percent-encoded in it.
 */
#include "kamiyo/base/digits.h"

#include "admin/admin_internal.h"

bool admin_query_decode(struct slice text, char *out, size_t capacity, size_t *length)
{
    size_t count = 0;

    for (size_t i = 0; i < text.length; i++) {
        char byte = text.data[i];

        if (byte == '%') {
            int escaped = i + 2 < text.length ? digits_hex_byte(text.data + i + 1) : -1;

            if (escaped < 0)
                return false;
            byte = (char)escaped;
            i += 2;
        }
        if (count == capacity || (unsigned char)byte < 0x20 || byte == 0x7f)
            return false;
        out[count++] = byte;
    }
    *length = count;
    return true;
}

struct slice admin_query_find(const struct http_request_head *request, struct slice name)
{
    size_t query = slice_find(request->path_query, '?');
    struct slice rest = {NULL, 0};
    struct slice part;

    if (query < request->path_query.length)
        rest = (struct slice){request->path_query.data + query + 1,
                              request->path_query.length - query - 1};
    while (slice_cut(&rest, '&', &part)) {
        size_t equals = slice_find(part, '=');

        if (equals < part.length && slice_equal((struct slice){part.data, equals}, name))
            return (struct slice){part.data + equals + 1, part.length - equals - 1};
    }
    return (struct slice){NULL, 0};
}
