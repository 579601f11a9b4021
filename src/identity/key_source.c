/* SPDX-License-Identifier: MIT */
/* What all sources of keys, and the token verifier, do alike: from stored texts to a record. */
#include "kamiyo/identity/key_source.h"

#include <string.h>

#include "kamiyo/identity/user_id.h"

_Static_assert(KEY_SOURCE_MAX_USER_BYTES == USER_ID_MAX_BYTES, "a record holds any formatted id");

/* Contract section 3: tier names are [A-Za-z0-9_-]{1,32}. */
static bool is_tier_name(struct slice tier)
{
    if (tier.length == 0 || tier.length > KEY_SOURCE_MAX_TIER_BYTES)
        return false;
    for (size_t i = 0; i < tier.length; i++) {
        char byte = tier.data[i];

        if (!((byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
              (byte >= '0' && byte <= '9') || byte == '_' || byte == '-'))
            return false;
    }
    return true;
}

void key_source_fill_record(struct key_record *record, struct slice user, struct slice tier)
{
    record->outcome = user.length > 0 ? KEY_SOURCE_FOUND : KEY_SOURCE_ABSENT;
    record->user_length = (uint8_t)user_id_format(user, record->user);
    record->tier_length = user.length > 0 && is_tier_name(tier) ? (uint8_t)tier.length : 0;
    if (record->tier_length > 0)
        memcpy(record->tier, tier.data, tier.length);
}
