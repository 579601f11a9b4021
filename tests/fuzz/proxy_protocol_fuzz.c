/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as the beginning of a connection with the PROXY protocol. However
 * they are cut, the answer is the same once it is not "more"; nothing is set
 * by a refusal; and what is taken lies within what came.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kamiyo/net/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LONGEST 536 /* fixed part and the rest of a binary header */

static void check(bool is_right, const char *what)
{
    if (is_right)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

/* On a copy without spare bytes, so that a read beyond the end is seen. */
static enum proxy_protocol_status
parse(const uint8_t *data, size_t length, struct addr *peer, size_t *consumed)
{
    char *copy = malloc(length > 0 ? length : 1);
    if (copy == NULL)
        abort();
    if (length > 0)
        memcpy(copy, data, length);
    *peer = (struct addr){.family = ADDR_UNIX, .port = 7};
    *consumed = SIZE_MAX;
    enum proxy_protocol_status status = proxy_protocol_parse(copy, length, peer, consumed);
    free(copy);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct addr whole_peer, peer;
    size_t whole_consumed, consumed;
    enum proxy_protocol_status whole = parse(data, size, &whole_peer, &whole_consumed), status;

    if (whole == PROXY_PROTOCOL_DONE) {
        check(whole_consumed >= 15 && whole_consumed <= size, "takes what did not come");
        check(whole_consumed <= LONGEST, "takes more than any header has");
        check(whole_peer.family != ADDR_NONE, "a peer without an address");
    } else {
        check(whole_consumed == SIZE_MAX && whole_peer.family == ADDR_UNIX && whole_peer.port == 7,
              "sets something without being done");
        check(whole != PROXY_PROTOCOL_MORE || size < LONGEST, "wants more without end");
    }
    for (size_t length = 0; length < size && length <= LONGEST; length++) {
        status = parse(data, length, &peer, &consumed);
        if (status == PROXY_PROTOCOL_MORE)
            continue;
        check(status == whole, "another answer for a part");
        check(consumed == whole_consumed, "another length for a part");
        check(whole == PROXY_PROTOCOL_ERROR || addr_equal(&peer, &whole_peer),
              "another peer for a part");
        break;
    }
    return 0;
}
