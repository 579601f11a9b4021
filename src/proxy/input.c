/* SPDX-License-Identifier: MIT */
/*
 * Bytes that were read from a peer and cannot be consumed yet: part of a head,
 * a body that waits for its connection, pipelined requests. Exists only while
 * there are such bytes; who reads more only when it is empty bounds it to one
 * read, and a head's own bound holds for the rest.
 */
#include <string.h>

#include "proxy/proxy_internal.h"

enum {
    LEAST_CAPACITY = 1024
};

void input_clear(struct input *input)
{
    mem_free(input->data);
    mem_free(input->parser);
    *input = (struct input){0};
}

char *input_reserve(struct input *input, size_t room)
{
    if (input->start > 0) {
        memmove(input->data, input->data + input->start, input->length);
        input->start = 0;
    }
    if (input->capacity - input->length < room) {
        size_t capacity = input->capacity > 0 ? input->capacity : LEAST_CAPACITY;
        while (capacity - input->length < room)
            capacity *= 2;
        input->data = mem_resize(input->data, capacity);
        input->capacity = capacity;
    }
    return input->data + input->length;
}

void input_append(struct input *input, const char *bytes, size_t length)
{
    if (length == 0)
        return;
    memcpy(input_reserve(input, length), bytes, length);
    input->length += length;
}
