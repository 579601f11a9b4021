/* SPDX-License-Identifier: MIT */
/*
 * Commands in Redis's protocol, for those of which there are few: what is sent
 * for each decision, limiter_redis writes itself.
 */
#include "redis_wire.h"

#include <string.h>

static size_t decimal(char *out, size_t value)
{
    char digits[20];
    size_t count = 0;

    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    for (size_t i = 0; i < count; i++)
        out[i] = digits[count - 1 - i];
    return count;
}

/* "*2\r\n" or "$5\r\n" */
static char *put_header(char *out, char kind, size_t value)
{
    *out++ = kind;
    out += decimal(out, value);
    *out++ = '\r';
    *out++ = '\n';
    return out;
}

size_t redis_wire_size(const struct slice *arguments, size_t count)
{
    size_t size = 32;

    for (size_t i = 0; i < count; i++)
        size += arguments[i].length + 32;
    return size;
}

size_t redis_wire_write(const struct slice *arguments, size_t count, char *out)
{
    char *end = put_header(out, '*', count);

    for (size_t i = 0; i < count; i++) {
        end = put_header(end, '$', arguments[i].length);
        if (arguments[i].length > 0)
            memcpy(end, arguments[i].data, arguments[i].length);
        end += arguments[i].length;
        *end++ = '\r';
        *end++ = '\n';
    }
    *end = '\0'; /* hiredis looks for a further argument as in a string */
    return (size_t)(end - out);
}
