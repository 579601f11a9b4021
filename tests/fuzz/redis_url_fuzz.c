/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a Redis URL. Beyond memory errors: the masked text of a URL
 * that parses is itself a URL to the same place, and its password is "***".
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "kamiyo/base/slice.h"
#include "kamiyo/redis/redis_url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = {(const char *)data, size};
    char masked[4 * REDIS_URL_MAX_BYTES + 16]; /* each byte may become \xNN */
    char small[16];
    struct redis_url url;
    struct redis_url again;
    struct error error;
    size_t length;

    length = redis_url_mask(text, masked, sizeof(masked));
    assert(length == strlen(masked));
    assert(redis_url_mask(text, small, sizeof(small)) < sizeof(small));
    if (!redis_url_parse(text, &url, &error))
        return 0;
    assert(url.is_unix ? url.path[0] == '/' : url.host[0] != '\0' && url.port > 0);
    assert(url.user == NULL || url.password != NULL);
    /* Bytes that had to be escaped for a log do not come back. */
    if (strchr(masked, '\\') == NULL) {
        assert(redis_url_parse((struct slice){masked, length}, &again, &error));
        assert(strcmp(url.host, again.host) == 0 && strcmp(url.path, again.path) == 0);
        assert(url.port == again.port && url.database == again.database &&
               url.is_tls == again.is_tls);
        assert(again.password == NULL || strcmp(again.password, "***") == 0);
        redis_url_clear(&again);
    }
    redis_url_clear(&url);
    return 0;
}
