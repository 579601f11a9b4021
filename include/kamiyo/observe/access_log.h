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

/*
 * Open the file, start the thread that writes to it, make a shard for each worker. Options are
 * copied. NULL and *error when the file cannot be opened or no thread can be made.
 */
struct access_log *access_log_create(const struct access_log_options *options,
                                     size_t shard_count,
                                     struct error *error) MUST_CHECK;
/* Writes what is gathered (waiting at most a second for a slow reader) and closes. */
void access_log_destroy(struct access_log **log);
/* The shard of a worker, valid as long as the log. */
struct access_log_shard *access_log_shard(struct access_log *log, size_t index);
/* Whether any line is wanted: if not, a record need not be put together. */
bool access_log_is_enabled(const struct access_log_shard *shard);
/* Gather the record's line, if the options want it. A line for which there is no room is dropped
 * and counted in `metrics`. Owner's thread only. */
void access_log_write(struct access_log_shard *shard,
                      const struct access_record *record,
                      struct metrics_shard *metrics);
/* Hand what is gathered to the writer; the owner calls it from a timer, at most 100 ms after the
 * first line written since the last time. Owner's thread only. */
void access_log_flush(struct access_log_shard *shard);
/* Open the file again under its name (after a rotation). False and *error: the old one is kept.
 * From the control thread. */
bool access_log_reopen(struct access_log *log, struct error *error) MUST_CHECK;
/* Other options after a reload, likewise. False and *error when their file cannot be opened:
 * nothing changes. */
bool access_log_configure(struct access_log *log,
                          const struct access_log_options *options,
                          struct error *error) MUST_CHECK;
