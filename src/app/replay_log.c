/* SPDX-License-Identifier: MIT */
/*
 * Lines of access logs, of whichever format, to records. A line that is not
 * understood is refused whole: `replay` counts those and goes on.
 */
#include "kamiyo/app/replay_log.h"

#include <string.h>

#include <jansson.h>

#define DAY_SECONDS INT64_C(86400)

/* Days from 1970-01-01 (proleptic Gregorian), years from 1. */
static int64_t days_from_date(int64_t year, int64_t month, int64_t day)
{
    int64_t shifted =
        month > 2 ? month - 3 : month + 9; /* the year begins in March, so that leap days end it */

    year -= month <= 2;
    return 365 * year + year / 4 - year / 100 + year / 400 + (153 * shifted + 2) / 5 + day - 1 -
           719468;
}

/* Cut `count` digits off. */
static bool cut_number(struct slice *text, size_t count, int64_t *number)
{
    uint64_t value;

    if (text->length < count || !slice_parse_u64((struct slice){text->data, count}, &value))
        return false;
    *text = (struct slice){text->data + count, text->length - count};
    *number = (int64_t)value;
    return true;
}

static bool cut_byte(struct slice *text, char byte)
{
    if (text->length == 0 || text->data[0] != byte)
        return false;
    *text = (struct slice){text->data + 1, text->length - 1};
    return true;
}

static bool cut_clock(struct slice *text, int64_t *seconds)
{
    int64_t hour;
    int64_t minute;
    int64_t second;

    if (!cut_number(text, 2, &hour) || !cut_byte(text, ':') || !cut_number(text, 2, &minute) ||
        !cut_byte(text, ':') || !cut_number(text, 2, &second) || hour > 23 || minute > 59 ||
        second > 60)
        return false;
    *seconds = hour * 3600 + minute * 60 + second;
    return true;
}

/* "+0100", "+01:00" or "Z". */
static bool cut_zone(struct slice *text, int64_t *seconds)
{
    int64_t sign = 1;
    int64_t hours;
    int64_t minutes;

    *seconds = 0;
    if (cut_byte(text, 'Z'))
        return true;
    if (!cut_byte(text, '+')) {
        if (!cut_byte(text, '-'))
            return false;
        sign = -1;
    }
    if (!cut_number(text, 2, &hours))
        return false;
    (void)cut_byte(text, ':'); /* RFC 3339 has it, the common log format has not */
    if (!cut_number(text, 2, &minutes))
        return false;
    *seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

static bool is_date(int64_t year, int64_t month, int64_t day)
{
    return year >= 1970 && month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

/* "2026-11-23T07:25:59.123Z" (RFC 3339). */
static bool parse_timestamp(struct slice text, int64_t *time_ms)
{
    int64_t year;
    int64_t month;
    int64_t day;
    int64_t clock;
    int64_t zone;
    int64_t ms = 0;

    if (!cut_number(&text, 4, &year) || !cut_byte(&text, '-') || !cut_number(&text, 2, &month) ||
        !cut_byte(&text, '-') || !cut_number(&text, 2, &day) ||
        !(cut_byte(&text, 'T') || cut_byte(&text, ' ')) || !cut_clock(&text, &clock) ||
        !is_date(year, month, day))
        return false;
    if (cut_byte(&text, '.')) {
        int64_t unit = 100;

        for (; text.length > 0 && text.data[0] >= '0' && text.data[0] <= '9'; unit /= 10) {
            ms += (text.data[0] - '0') * unit;
            text = (struct slice){text.data + 1, text.length - 1};
        }
    }
    if (!cut_zone(&text, &zone) || text.length > 0)
        return false;
    *time_ms = (days_from_date(year, month, day) * DAY_SECONDS + clock - zone) * 1000 + ms;
    return true;
}

/* "23/Nov/2026:07:25:59 +0000" (common log format). */
static bool parse_common_time(struct slice text, int64_t *time_ms)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int64_t year;
    int64_t day;
    int64_t clock;
    int64_t zone;
    int64_t month = 0;

    if (!cut_number(&text, 2, &day) || !cut_byte(&text, '/') || text.length < 3)
        return false;
    for (int64_t i = 0; i < 12; i++) {
        if (memcmp(text.data, names + 3 * i, 3) == 0)
            month = i + 1;
    }
    text = (struct slice){text.data + 3, text.length - 3};
    if (!cut_byte(&text, '/') || !cut_number(&text, 4, &year) || !cut_byte(&text, ':') ||
        !cut_clock(&text, &clock) || !cut_byte(&text, ' ') || !cut_zone(&text, &zone) ||
        text.length > 0 || !is_date(year, month, day))
        return false;
    *time_ms = (days_from_date(year, month, day) * DAY_SECONDS + clock - zone) * 1000;
    return true;
}

/* Copy what fits whole; false when it is empty (and must not be) or too long. */
static bool copy(struct slice text, char *out, size_t size, bool may_be_empty)
{
    if (text.length >= size || (text.length == 0 && !may_be_empty))
        return false;
    if (text.length > 0)
        memcpy(out, text.data, text.length);
    out[text.length] = '\0';
    return true;
}

/* The path of an origin-form or absolute target, or "*"; anything else is no request line. */
static bool copy_path(struct slice target, struct replay_record *record)
{
    target.length = slice_find(target, '?');
    if (slice_starts_with(target, SLICE("http://")) ||
        slice_starts_with(target, SLICE("https://"))) {
        size_t authority = target.data[4] == 's' ? 8 : 7;
        struct slice rest = {target.data + authority, target.length - authority};
        size_t slash = slice_find(rest, '/');

        target = slash < rest.length ? (struct slice){rest.data + slash, rest.length - slash}
                                     : SLICE("/");
    }
    if (!slice_starts_with(target, SLICE("/")) && !slice_equal(target, SLICE("*")))
        return false;
    return copy(target, record->path, sizeof(record->path), false);
}

static struct slice member(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    return json_is_string(value)
               ? (struct slice){json_string_value(value), json_string_length(value)}
               : slice_of("");
}

static bool parse_json(struct slice line, struct replay_record *record)
{
    json_error_t error;
    json_t *object = json_loadb(line.data, line.length, 0, &error);
    bool is_fine =
        parse_timestamp(member(object, "time"), &record->time_ms) &&
        copy(member(object, "client_ip"), record->client, sizeof(record->client), false) &&
        copy(member(object, "user"), record->user, sizeof(record->user), true) &&
        copy(member(object, "tier"), record->tier, sizeof(record->tier), true) &&
        copy(member(object, "method"), record->method, sizeof(record->method), false) &&
        copy_path(member(object, "path"), record);

    json_decref(object);
    return is_fine;
}

/* client - user [time] "METHOD target HTTP/1.1" ... */
static bool parse_common(struct slice line, struct replay_record *record)
{
    struct slice rest = line;
    struct slice part;
    struct slice user;

    record->tier[0] = '\0';
    if (!slice_cut(&rest, ' ', &part) ||
        !copy(part, record->client, sizeof(record->client), false) ||
        !slice_cut(&rest, ' ', &part) || !slice_cut(&rest, ' ', &user) ||
        !slice_cut(&rest, '[', &part) || !slice_cut(&rest, ']', &part) ||
        !parse_common_time(part, &record->time_ms) || !slice_cut(&rest, '"', &part) ||
        !slice_cut(&rest, ' ', &part) ||
        !copy(part, record->method, sizeof(record->method), false) ||
        !slice_cut(&rest, ' ', &part) || !copy_path(part, record))
        return false;
    return copy(slice_equal(user, SLICE("-")) ? slice_of("") : user, record->user,
                sizeof(record->user), true);
}

bool replay_log_parse(struct slice line, struct replay_record *record)
{
    line = slice_trim(line);
    while (line.length > 0 &&
           (line.data[line.length - 1] == '\n' || line.data[line.length - 1] == '\r'))
        line.length--;
    if (line.length > 0 && line.data[0] == '{')
        return parse_json(line, record);
    return parse_common(line, record);
}
