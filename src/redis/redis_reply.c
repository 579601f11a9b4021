/* SPDX-License-Identifier: MIT */
/*
 * The questions of redis_reply.h, answered from hiredis's struct. The two
 * types are one: struct redis_reply is only the name under which other rooms
 * see a redisReply.
 */
#include "kamiyo/redis/redis_reply.h"

#include <hiredis/hiredis.h>

static const redisReply *open_reply(const struct redis_reply *reply)
{
    return (const redisReply *)(const void *)reply;
}

static bool is_type(const struct redis_reply *reply, int type)
{
    return reply != NULL && open_reply(reply)->type == type;
}

static bool text_of(const struct redis_reply *reply, struct slice *text)
{
    *text = (struct slice){open_reply(reply)->str, open_reply(reply)->len};
    return true;
}

bool redis_reply_is_error(const struct redis_reply *reply, struct slice *text)
{
    return is_type(reply, REDIS_REPLY_ERROR) && text_of(reply, text);
}

bool redis_reply_is_string(const struct redis_reply *reply, struct slice *text)
{
    return (is_type(reply, REDIS_REPLY_STRING) || is_type(reply, REDIS_REPLY_STATUS)) &&
           text_of(reply, text);
}

bool redis_reply_is_integer(const struct redis_reply *reply, int64_t *value)
{
    if (!is_type(reply, REDIS_REPLY_INTEGER))
        return false;
    *value = open_reply(reply)->integer;
    return true;
}

bool redis_reply_is_array(const struct redis_reply *reply, size_t *count)
{
    if (!is_type(reply, REDIS_REPLY_ARRAY))
        return false;
    *count = open_reply(reply)->elements;
    return true;
}

const struct redis_reply *redis_reply_at(const struct redis_reply *reply, size_t index)
{
    if (!is_type(reply, REDIS_REPLY_ARRAY) || index >= open_reply(reply)->elements)
        return NULL;
    return (const struct redis_reply *)(const void *)open_reply(reply)->element[index];
}

bool redis_reply_is_integers(const struct redis_reply *reply,
                             int64_t *values,
                             size_t capacity,
                             size_t *count)
{
    const redisReply *array = open_reply(reply);

    if (!is_type(reply, REDIS_REPLY_ARRAY) || array->elements > capacity)
        return false;
    for (size_t i = 0; i < array->elements; i++) {
        const redisReply *element = array->element[i];

        if (element == NULL || element->type != REDIS_REPLY_INTEGER)
            return false;
        values[i] = element->integer;
    }
    *count = array->elements;
    return true;
}
