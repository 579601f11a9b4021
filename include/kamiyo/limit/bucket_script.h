/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/limit/bucket.h"

/*
 * Talking to bucket.lua: its argument as bytes, its reply as buckets. The
 * caller forms keys and sends; a command is
 *
 *   EVALSHA <sha1> <keys> KEYS... ARGV[1]
 *   layout window:    KEYS = a hash for each window
 *   layout identity:  KEYS = one hash
 *
 * with windows in the policy's order. The text of the script is `bucket_lua` in
 * the generated "bucket_lua.h". Once a reply is read, bucket_describe
 * makes the decision of its buckets and its time.
 */
enum bucket_script_action {
    BUCKET_SCRIPT_TAKE, /* tokens from all windows or from none */
    BUCKET_SCRIPT_ADD,  /* tokens from every window whatever is there; negative gives back */
    BUCKET_SCRIPT_PEEK, /* nothing: says whether TAKE would be allowed */
};

enum bucket_script_status {
    BUCKET_SCRIPT_DENIED,
    BUCKET_SCRIPT_DONE,    /* allowed, or added; of a peek: would be allowed */
    BUCKET_SCRIPT_LATE,    /* past the deadline: nothing was done */
    BUCKET_SCRIPT_ODD,     /* a key is no hash, or its fields are no decimals: nothing was done */
    BUCKET_SCRIPT_GARBAGE, /* no reply of this script */
};

/* The argument begins with what is the call's; the rest is its policy's alone. */
#define BUCKET_SCRIPT_CALL_BYTES 19
/* Room for the argument: 9 bytes a number, 16 a burst, 32 a field, 3 before all fields. */
#define BUCKET_SCRIPT_ARGUMENT_BYTES \
    (BUCKET_SCRIPT_CALL_BYTES + 3 + LIMIT_MAX_WINDOWS * (4 * 9 + 16 + 3 * 32))
/* For calls that are never too late. */
#define BUCKET_SCRIPT_NO_DEADLINE ((int64_t)1 << 53)

/*
 * ARGV[1]; its length. `layout` says whether the fields are named after their windows.
 * deadline_ms is of Redis's clock; tokens within +-10^12.
 */
size_t bucket_script_argument(const struct limit_policy *policy,
                              enum limit_layout layout,
                              enum bucket_script_action action,
                              int64_t tokens,
                              int64_t deadline_ms,
                              char out[BUCKET_SCRIPT_ARGUMENT_BYTES]);
/* Make an argument that of another call for the same policy and layout. */
void bucket_script_set_call(char argument[BUCKET_SCRIPT_CALL_BYTES],
                            enum bucket_script_action action,
                            int64_t tokens,
                            int64_t deadline_ms);

/*
 * Read the integers of a reply to a command for `policy`. *now_ms (Redis's clock) is set unless
 * GARBAGE; buckets[] as they stand now, when DENIED or DONE. Anything out of range is GARBAGE, so a
 * reply may come from anywhere.
 */
enum bucket_script_status bucket_script_read(const struct limit_policy *policy,
                                             const int64_t *values,
                                             size_t count,
                                             int64_t *now_ms,
                                             struct bucket *buckets) MUST_CHECK;
