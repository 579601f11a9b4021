/* SPDX-License-Identifier: MIT */
/*
 * Reading the metrics: sums over the shards, and the Prometheus text form
 * (version 0.0.4). Runs on whatever thread asks, beside workers that go on
 * counting; numbers of one moment may differ by what was counted meanwhile,
 * but a histogram's count is always the sum of its own buckets.
 */
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"
#include "kamiyo/observe/metrics.h"

#include "observe/metrics_internal.h"

#define PREFIX "kamiyo_gateway_"

struct description {
    const char *name;
    const char *labels; /* inside the braces, or "" */
    const char *type;   /* NULL = a further line of the one before */
    const char *help;
};

static const struct description values[METRICS_VALUE_COUNT] = {
    [METRICS_CLIENT_CONNECTIONS] = {"connections", "side=\"client\"", "gauge", "Open connections."},
    [METRICS_UPSTREAM_CONNECTIONS] = {"connections", "side=\"upstream\"", NULL, NULL},
    [METRICS_UPSTREAM_RETRIES] = {"upstream_retries_total", "", "counter",
                                  "Requests sent upstream a second time."},
    [METRICS_REDIS_COMMANDS] = {"redis_commands_total", "", "counter", "Commands sent to Redis."},
    [METRICS_ACCESS_LOG_DROPPED] = {"access_log_dropped_total", "", "counter",
                                    "Access log lines dropped because nobody read them."},
    [METRICS_UNTRUSTED_FORWARDING] =
        {"client_ip_untrusted_forwarding_total", "", "counter",
         "Requests whose forwarding fields came from an untrusted peer."},
    [METRICS_SHORT_CHAINS] = {"client_ip_short_chains_total", "", "counter",
                              "Requests whose forwarding chain was shorter than hops."},
    [METRICS_IDENTITY_FAILURES] = {"identity_failures_total", "", "counter",
                                   "Keys and tokens that did not verify."},
};

static const struct description histograms[METRICS_HISTOGRAM_COUNT] = {
    [METRICS_REQUEST_SECONDS] = {"request_duration_seconds", "", "histogram",
                                 "From a request's head to its answer's end."},
    [METRICS_LIMIT_SECONDS] = {"limit_duration_seconds", "", "histogram",
                               "Time that deciding on the limit took."},
    [METRICS_UPSTREAM_SECONDS] = {"upstream_duration_seconds", "", "histogram",
                                  "From the request's being sent upstream to the answer's end."},
    [METRICS_REDIS_ROUND_TRIP_SECONDS] = {"redis_round_trip_seconds", "", "histogram",
                                          "From a command to its reply."},
};

static const struct {
    struct description description;
    const char *label_names[METRICS_MAX_LABELS];
} families[METRICS_FAMILY_COUNT] = {
    [METRICS_REQUESTS] = {{"requests_total", "", "counter",
                           "Requests, by the status of the answer."},
                          {"route", "tier"}},
    [METRICS_DECISIONS] = {{"decisions_total", "", "counter", "Decisions of the limiter."},
                           {"decision", "mode", "tier", "window"}},
    [METRICS_UPSTREAM_ERRORS] = {{"upstream_errors_total", "", "counter",
                                  "Exchanges that the upstream failed."},
                                 {"reason"}},
    [METRICS_REDIS_ERRORS] = {{"redis_errors_total", "", "counter", "Failures of Redis."},
                              {"reason"}},
    [METRICS_RELOADS] = {{"config_reloads_total", "", "counter", "Reloads of the configuration."},
                         {"result"}},
};

static int64_t value_of(struct metrics_shard *shard, enum metrics_value value)
{
    return atomic_load_explicit(&shard->values[value], memory_order_relaxed);
}

static uint64_t count_of(struct metrics_counter *counter)
{
    return atomic_load_explicit(&counter->count, memory_order_relaxed);
}

static struct metrics_counter *first_counter(struct metrics_shard *shard)
{
    return atomic_load_explicit(&shard->counters, memory_order_acquire);
}

int64_t metrics_sum(struct metrics *metrics, enum metrics_value value)
{
    int64_t sum = 0;

    for (size_t i = 0; i < metrics->shard_count; i++)
        sum += value_of(&metrics->shards[i], value);
    return sum;
}

void metrics_sum_requests(struct metrics *metrics, uint64_t by_class[6])
{
    memset(by_class, 0, 6 * sizeof(by_class[0]));
    for (size_t i = 0; i < metrics->shard_count; i++) {
        for (struct metrics_counter *counter = first_counter(&metrics->shards[i]); counter != NULL;
             counter = counter->next) {
            int class = counter->status / 100;

            if (counter->family == METRICS_REQUESTS)
                by_class[class >= 1 && class <= 5 ? class : 0] += count_of(counter);
        }
    }
}

uint64_t metrics_sum_decisions(struct metrics *metrics, struct slice decision)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < metrics->shard_count; i++) {
        for (struct metrics_counter *counter = first_counter(&metrics->shards[i]); counter != NULL;
             counter = counter->next) {
            if (counter->family == METRICS_DECISIONS && slice_equal(counter->labels[0], decision))
                sum += count_of(counter);
        }
    }
    return sum;
}

static void sum_histogram(struct metrics *metrics,
                          enum metrics_histogram histogram,
                          uint64_t buckets[METRICS_MAX_BUCKETS + 1],
                          int64_t *sum_us)
{
    memset(buckets, 0, (METRICS_MAX_BUCKETS + 1) * sizeof(buckets[0]));
    *sum_us = 0;
    for (size_t i = 0; i < metrics->shard_count; i++) {
        struct metrics_histogram_data *data = &metrics->shards[i].histograms[histogram];

        for (size_t j = 0; j <= metrics_histogram_shapes[histogram].count; j++)
            buckets[j] += atomic_load_explicit(&data->buckets[j], memory_order_relaxed);
        *sum_us += atomic_load_explicit(&data->sum_us, memory_order_relaxed);
    }
}

uint64_t metrics_histogram_count(struct metrics *metrics, enum metrics_histogram histogram)
{
    uint64_t buckets[METRICS_MAX_BUCKETS + 1];
    uint64_t total = 0;
    int64_t sum_us;

    sum_histogram(metrics, histogram, buckets, &sum_us);
    for (size_t i = 0; i <= metrics_histogram_shapes[histogram].count; i++)
        total += buckets[i];
    return total;
}

int64_t metrics_histogram_quantile_us(struct metrics *metrics,
                                      enum metrics_histogram histogram,
                                      double quantile)
{
    const struct metrics_histogram_shape *shape = &metrics_histogram_shapes[histogram];
    uint64_t buckets[METRICS_MAX_BUCKETS + 1];
    uint64_t total = 0;
    uint64_t below = 0;
    int64_t sum_us;

    sum_histogram(metrics, histogram, buckets, &sum_us);
    for (size_t i = 0; i <= shape->count; i++)
        total += buckets[i];
    for (size_t i = 0; i < shape->count && total > 0; i++) {
        below += buckets[i];
        if ((double)below >= quantile * (double)total)
            return shape->bounds_us[i];
    }
    return -1;
}

static void put(struct text *out, const char *bytes)
{
    text_append(out, slice_of(bytes));
}

static void put_head(struct text *out, const struct description *description)
{
    if (description->type == NULL)
        return;
    put(out, "# HELP " PREFIX);
    put(out, description->name);
    text_append_char(out, ' ');
    put(out, description->help);
    put(out, "\n# TYPE " PREFIX);
    put(out, description->name);
    text_append_char(out, ' ');
    put(out, description->type);
    text_append_char(out, '\n');
}

/* `name{labels} ` or `name `; `suffix` belongs to the name. */
static void put_name(struct text *out, const char *name, const char *suffix, const char *labels)
{
    put(out, PREFIX);
    put(out, name);
    put(out, suffix);
    if (labels[0] != '\0') {
        text_append_char(out, '{');
        put(out, labels);
        text_append_char(out, '}');
    }
    text_append_char(out, ' ');
}

/* Microseconds as seconds, without zeros at the end: 2500 -> 0.0025. */
static void put_seconds(struct text *out, int64_t us)
{
    char digits[6];
    size_t length = 6;
    int64_t rest = us % 1000000;

    text_append_i64(out, us / 1000000);
    for (size_t i = 6; i > 0; i--, rest /= 10)
        digits[i - 1] = (char)('0' + rest % 10);
    while (length > 0 && digits[length - 1] == '0')
        length--;
    if (length > 0) {
        text_append_char(out, '.');
        text_append(out, (struct slice){digits, length});
    }
}

static void
put_histogram(struct text *out, struct metrics *metrics, enum metrics_histogram histogram)
{
    const struct metrics_histogram_shape *shape = &metrics_histogram_shapes[histogram];
    const char *name = histograms[histogram].name;
    uint64_t buckets[METRICS_MAX_BUCKETS + 1];
    uint64_t total = 0;
    int64_t sum_us;

    sum_histogram(metrics, histogram, buckets, &sum_us);
    put_head(out, &histograms[histogram]);
    for (size_t i = 0; i <= shape->count; i++) {
        total += buckets[i];
        put(out, PREFIX);
        put(out, name);
        put(out, "_bucket{le=\"");
        if (i < shape->count)
            put_seconds(out, shape->bounds_us[i]);
        else
            put(out, "+Inf");
        put(out, "\"} ");
        text_append_u64(out, total);
        text_append_char(out, '\n');
    }
    put_name(out, name, "_sum", "");
    put_seconds(out, sum_us);
    text_append_char(out, '\n');
    put_name(out, name, "_count", "");
    text_append_u64(out, total);
    text_append_char(out, '\n');
}

static int compare_slices(struct slice a, struct slice b)
{
    size_t common = a.length < b.length ? a.length : b.length;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;

    if (order != 0)
        return order;
    return a.length < b.length ? -1 : a.length > b.length;
}

/* By family and labels: equal ones of several shards come together, and a page reads in the same
 * order each time. */
static int compare_counters(const void *left, const void *right)
{
    const struct metrics_counter *a = *(struct metrics_counter *const *)left;
    const struct metrics_counter *b = *(struct metrics_counter *const *)right;

    if (a->family != b->family)
        return a->family < b->family ? -1 : 1;
    if (a->status != b->status)
        return a->status < b->status ? -1 : 1;
    for (size_t i = 0; i < metrics_label_counts[a->family]; i++) {
        int order = compare_slices(a->labels[i], b->labels[i]);

        if (order != 0)
            return order;
    }
    return 0;
}

/* Backslash, quote and line feed are escaped in label values; the rest is UTF-8 as it is. */
static void put_label_value(struct text *out, struct slice value)
{
    for (size_t i = 0; i < value.length; i++) {
        char byte = value.data[i];

        if (byte == '\\' || byte == '"')
            text_append_char(out, '\\');
        if (byte == '\n')
            put(out, "\\n");
        else
            text_append_char(out, byte);
    }
}

static void put_counter(struct text *out, const struct metrics_counter *counter, uint64_t count)
{
    size_t label_count = metrics_label_counts[counter->family];

    put(out, PREFIX);
    put(out, families[counter->family].description.name);
    text_append_char(out, '{');
    if (counter->family == METRICS_REQUESTS) {
        put(out, "status=\"");
        if (counter->status > 0)
            text_append_i64(out, counter->status);
        else
            put(out, counter->status == 0 ? "none" : "other");
        put(out, "\",");
    }
    for (size_t i = 0; i < label_count; i++) {
        if (i > 0)
            text_append_char(out, ',');
        put(out, families[counter->family].label_names[i]);
        put(out, "=\"");
        put_label_value(out, counter->labels[i]);
        text_append_char(out, '"');
    }
    put(out, "} ");
    text_append_u64(out, count);
    text_append_char(out, '\n');
}

/* All counters of all shards, sorted; *count of them. */
static struct metrics_counter **gather(struct metrics *metrics, size_t *count)
{
    struct metrics_counter **all;
    size_t capacity = 0;

    *count = 0;
    for (size_t i = 0; i < metrics->shard_count; i++) {
        for (struct metrics_counter *counter = first_counter(&metrics->shards[i]); counter != NULL;
             counter = counter->next)
            capacity++;
    }
    all = mem_alloc((capacity + 1) * sizeof(struct metrics_counter *));
    for (size_t i = 0; i < metrics->shard_count; i++) {
        struct metrics_counter *counter = first_counter(&metrics->shards[i]);

        for (; counter != NULL && *count < capacity; counter = counter->next)
            all[(*count)++] = counter;
    }
    qsort(all, *count, sizeof(struct metrics_counter *), compare_counters);
    return all;
}

static void put_counters(struct text *out, struct metrics *metrics)
{
    size_t count;
    struct metrics_counter **all = gather(metrics, &count);
    size_t at = 0;

    for (int family = 0; family < METRICS_FAMILY_COUNT; family++) {
        put_head(out, &families[family].description);
        while (at < count && (int)all[at]->family == family) {
            size_t first = at;
            uint64_t sum = 0;

            for (; at < count && compare_counters(&all[first], &all[at]) == 0; at++)
                sum += count_of(all[at]);
            put_counter(out, all[first], sum);
        }
    }
    mem_free(all);
}

static void put_gauge(struct text *out, const char *name, const char *help, uint64_t value)
{
    const struct description description = {name, "", "gauge", help};

    put_head(out, &description);
    put_name(out, name, "", "");
    text_append_u64(out, value);
    text_append_char(out, '\n');
}

static void put_all(struct text *out, struct metrics *metrics, const struct metrics_gauges *gauges)
{
    put_counters(out, metrics);
    for (int value = 0; value < METRICS_VALUE_COUNT; value++) {
        put_head(out, &values[value]);
        put_name(out, values[value].name, "", values[value].labels);
        text_append_i64(out, metrics_sum(metrics, (enum metrics_value)value));
        text_append_char(out, '\n');
    }
    for (int histogram = 0; histogram < METRICS_HISTOGRAM_COUNT; histogram++)
        put_histogram(out, metrics, (enum metrics_histogram)histogram);
    put_gauge(out, "redis_up", "Whether Redis answers.", gauges->is_redis_up ? 1 : 0);
    put_gauge(out, "store_keys", "Buckets in the table of this process.", gauges->store_keys);
    put_gauge(out, "store_bytes", "Memory of the table of this process.", gauges->store_bytes);
    put_head(out, &(const struct description){"build_info", "", "gauge", "Always 1."});
    put(out, PREFIX "build_info{version=\"");
    put_label_value(out, slice_of(gauges->version));
    put(out, "\",commit=\"");
    put_label_value(out, slice_of(gauges->commit));
    put(out, "\"} 1\n");
}

char *metrics_render(struct metrics *metrics, const struct metrics_gauges *gauges, size_t *length)
{
    size_t capacity = 16384;
    char *memory = mem_alloc(capacity);
    struct text out;

    for (;;) {
        text_init(&out, memory, capacity - 1);
        put_all(&out, metrics, gauges);
        if (!out.overflow)
            break;
        capacity *= 2;
        memory = mem_resize(memory, capacity);
    }
    memory[out.length] = '\0';
    *length = out.length;
    return memory;
}
