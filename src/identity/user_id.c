/* SPDX-License-Identifier: MIT */
/*
 * The form of ids in keys (contract section 3): printable, without the colons,
 * braces and spaces that mean something in Redis keys, paths or log lines, and
 * of bounded length. "%" is escaped too, so no two ids meet.
 */
#include "kamiyo/identity/user_id.h"

#include <stdbool.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/text.h"
#include "kamiyo/identity/digest.h"

/* A-Z a-z 0-9 . _ @ + = -, a bit for each ASCII byte. */
static bool is_plain(char byte)
{
    static const uint64_t bits[4] = {UINT64_C(0x23ff680000000000), UINT64_C(0x07fffffe87ffffff)};
    unsigned char index = (unsigned char)byte;

    return (bits[index / 64] >> index % 64 & 1) != 0;
}

/* The usual id has nothing to escape, and fits. */
static bool is_plain_id(struct slice id)
{
    size_t at = 0;

    while (at < id.length && is_plain(id.data[at]))
        at++;
    return at == id.length && id.length <= USER_ID_MAX_BYTES;
}

static void append_digest(struct text *text, struct slice id)
{
    uint8_t bytes[DIGEST_BYTES];
    struct digest digest;

    digest_init(&digest);
    digest_sha256(&digest, id, bytes);
    digest_clear(&digest);
    text_append(text, SLICE("sha256-"));
    text_append_hex(text, bytes, sizeof(bytes));
}

size_t user_id_format(struct slice id, char out[USER_ID_MAX_BYTES])
{
    struct text text;

    if (LIKELY(is_plain_id(id)))
        return (size_t)(slice_put(out, id) - out);
    text_init(&text, out, USER_ID_MAX_BYTES);
    for (size_t i = 0; i < id.length && !text.overflow; i++) {
        if (is_plain(id.data[i]))
            text_append_char(&text, id.data[i]);
        else
            text_append_percent(&text, id.data[i]);
    }
    if (text.overflow) {
        text_init(&text, out, USER_ID_MAX_BYTES);
        append_digest(&text, id);
    }
    return text.length;
}
