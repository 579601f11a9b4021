/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/error.h"
#include "kamiyo/base/slice.h"
#include "kamiyo/observe/access_log_options.h"

/*
 * One line an exchange (contract section 9). Each worker gathers its lines in
 * memory and makes no system call for them; they are written whole, at most
 * 100 ms late, never interleaved; a reader that does not read loses whole
 * lines, which are counted, and never stops a worker.
 */
struct access_log;       /* of the process: the file and who writes it */
struct access_log_shard; /* of one worker */
struct metrics_shard;

/*
 * Everything borrowed during access_log_write only. Empty slices are written as null or left out as
 * the format says. What a client may have written as it likes is escaped; request_id, client_ip,
 * tier, route, decision and mode are the gateway's words, without quotes, backslashes or controls.
 */
struct access_record {
    int64_t wall_us; /* when the request began */
    struct slice request_id;
    struct slice client_ip;
    struct slice method;
    struct slice target; /* path and query; secrets in the query are masked here */
    int minor_version;
    int status;         /* 0 = no answer was sent */
    uint64_t bytes_in;  /* of the request's body */
    uint64_t bytes_out; /* of the answer's body */
    int64_t duration_us;
    int64_t upstream_us; /* -1 = nothing was sent upstream */
    int retries;
    int64_t limit_us;
    struct slice tier;
    struct slice user; /* id, never a key; empty for an address */
    struct slice route;
    struct slice decision; /* allowed, denied, exempt, shadow; empty = refused before */
    struct slice mode;     /* redis, memory, fallback, cached; empty = none */
    int64_t remaining;     /* -1 = none */
    struct slice user_agent;
    struct slice referer; /* for the combined format */
    struct slice reason;  /* why the exchange ended, when not in order */
    bool is_denied;       /* always logged with `denied: always` */
};

struct access_log *access_log_create(const struct access_log_options *options,
                                     size_t shard_count,
                                     struct error *error) MUST_CHECK;
/* Writes what is gathered (waiting at most a second for a slow reader) and closes. */
void access_log_destroy(struct access_log **log);
struct access_log_shard *access_log_shard(struct access_log *log, size_t index);
/* Whether any line is wanted: if not, a record need not be put together. */
bool access_log_is_enabled(const struct access_log_shard *shard);
/* Owner's thread only. */
void access_log_write(struct access_log_shard *shard,
                      const struct access_record *record,
                      struct metrics_shard *metrics);
/* Hand what is gathered to the writer; the owner calls it from a timer of 100 ms at most while
 * access_log_has_lines. */
void access_log_flush(struct access_log_shard *shard);
bool access_log_has_lines(const struct access_log_shard *shard);
/* USR1 and reloads; from the control thread. */
void access_log_reopen(struct access_log *log);
bool access_log_configure(struct access_log *log,
                          const struct access_log_options *options,
                          struct error *error) MUST_CHECK;
