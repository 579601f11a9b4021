/* SPDX-License-Identifier: MIT */
/*
 * Drawing: each line is made as plain text, cut to the screen's width, and gets
 * its colour as a whole, so that no escape is ever cut.
 */
#include "app/top_view.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "kamiyo/base/attributes.h"

#define BOLD  "\033[1m"
#define DIM   "\033[2m"
#define AMBER "\033[33m"
#define PLAIN ""

/* Most columns of a line; wider screens leave the rest empty. */
#define MAX_COLUMNS 200

static double number_of(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

/* A text of the event: a terminal must not be spoken to by it. */
static void put_clean(struct text *out, const char *bytes)
{
    for (; *bytes != '\0'; bytes++)
        text_append_char(out, *bytes >= ' ' && *bytes < 0x7f ? *bytes : '?');
}

/* `bytes` in a column of its own, cut where it is too long. */
static void put_column(struct text *out, const char *bytes, size_t width)
{
    char memory[MAX_COLUMNS];
    struct text text;

    text_init(&text, memory, sizeof(memory));
    put_clean(&text, bytes);
    if (text.length > width) {
        text.length = width;
        if (width > 0)
            memory[width - 1] = '~';
    }
    text_append_format(out, "%-*.*s ", (int)width, SLICE_PRINT(text_slice(&text)));
}

/* The line as far as the screen is wide; a character of several bytes stands in one column. */
static size_t cut(struct slice line, size_t columns)
{
    size_t length = 0;
    size_t used = 0;

    for (; length < line.length; length++) {
        if (((unsigned char)line.data[length] & 0xc0) != 0x80 && used++ == columns)
            break;
    }
    return length;
}

static void put_line(struct top_view *view, struct text *out, const char *color, struct slice line)
{
    if (view->lines_left == 0)
        return;
    view->lines_left--;
    if (view->has_color)
        text_append(out, slice_of(color));
    line.length = cut(line, view->width);
    text_append(out, line);
    if (view->has_color && color[0] != '\0')
        text_append(out, SLICE("\033[0m"));
    text_append(out, SLICE("\033[K\r\n"));
}

static void put_rate(struct text *out, double rate)
{
    text_append_format(out, rate > 0 && rate < 10 ? "%.1f" : "%.0f", rate);
}

static void put_time(struct text *out, const json_t *ms)
{
    double value = json_number_value(ms);

    if (!json_is_number(ms))
        text_append(out, SLICE("-"));
    else if (value < 1)
        text_append_format(out, "%.0f us", value * 1000);
    else if (value < 1000)
        text_append_format(out, "%.1f ms", value);
    else
        text_append_format(out, "%.1f s", value / 1000);
}

static void put_span(struct text *out, double ms)
{
    double seconds = ms > 0 ? ms / 1000 : 0;

    if (seconds < 120)
        text_append_format(out, "%.0f s", seconds);
    else if (seconds < 7200)
        text_append_format(out, "%d min", (int)(seconds / 60));
    else if (seconds < 172800)
        text_append_format(out, "%d h", (int)(seconds / 3600));
    else
        text_append_format(out, "%d days", (int)(seconds / 86400));
}

static bool is_away(const json_t *event)
{
    return strcmp(text_of(json_object_get(event, "store"), "mode"), "fallback") == 0;
}

static void put_store(struct text *out, const json_t *event)
{
    const json_t *store = json_object_get(event, "store");
    const json_t *redis = json_object_get(store, "redis");
    double since_ms = number_of(event, "time_ms") - number_of(redis, "since_ms");

    if (strcmp(text_of(store, "mode"), "memory") == 0) {
        text_append(out, SLICE("No Redis configured: this gateway decides alone"));
    } else if (!is_away(event)) {
        text_append(out, SLICE("Redis decides, for "));
        put_span(out, since_ms);
    } else {
        text_append(out, SLICE("Redis away for "));
        put_span(out, since_ms);
        text_append(out, SLICE(": this gateway decides from its own table ("));
        put_clean(out, text_of(redis, "reason"));
        text_append_char(out, ')');
    }
}

static void put_graph(struct text *out,
                      const struct top_view *view,
                      const double points[TOP_VIEW_POINTS],
                      size_t width)
{
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const ascii[] = {"_", ".", "-", "=", "+", "*", "%", "#"};
    size_t count = view->points < width ? view->points : width;
    double most = 0;

    for (size_t i = TOP_VIEW_POINTS - count; i < TOP_VIEW_POINTS; i++)
        most = points[i] > most ? points[i] : most;
    for (size_t i = TOP_VIEW_POINTS - count; i < TOP_VIEW_POINTS; i++) {
        size_t level = most > 0 ? (size_t)(points[i] / most * 7 + 0.5) : 0;

        text_append(out, slice_of(view->has_utf8 ? blocks[level] : ascii[level]));
    }
}

static void draw_rate(struct top_view *view,
                      struct text *out,
                      const char *name,
                      double rate,
                      const double points[TOP_VIEW_POINTS])
{
    char memory[MAX_COLUMNS * 4];
    struct text line;

    text_init(&line, memory, sizeof(memory));
    text_append_format(&line, "%-10s", name);
    put_rate(&line, rate);
    text_append(&line, SLICE("/s"));
    while (line.length < 24)
        text_append_char(&line, ' ');
    if (view->width > 24)
        put_graph(&line, view, points, view->width - 24);
    put_line(view, out, PLAIN, text_slice(&line));
}

static void draw_times(struct top_view *view, struct text *out, const json_t *event)
{
    const json_t *times = json_object_get(event, "duration_ms");
    char memory[MAX_COLUMNS];
    struct text line;

    text_init(&line, memory, sizeof(memory));
    text_append(&line, SLICE("Times     99 % within "));
    put_time(&line, json_object_get(times, "p99"));
    text_append(&line, SLICE(", half within "));
    put_time(&line, json_object_get(times, "p50"));
    text_append_format(&line, "; %.0f clients, %.0f upstream connections",
                       number_of(event, "connections"),
                       number_of(json_object_get(event, "upstream"), "connections"));
    put_line(view, out, PLAIN, text_slice(&line));
}

/* "Answers   2xx 4  4xx 82": members that are not 0. */
static void
draw_rates(struct top_view *view, struct text *out, const char *name, const json_t *rates)
{
    char memory[MAX_COLUMNS * 2];
    struct text line;
    bool is_empty = true;

    text_init(&line, memory, sizeof(memory));
    text_append_format(&line, "%-10s", name);
    for (void *at = json_object_iter((json_t *)(uintptr_t)rates); at != NULL;
         at = json_object_iter_next((json_t *)(uintptr_t)rates, at)) {
        double rate = json_number_value(json_object_iter_value(at));

        if (rate <= 0)
            continue;
        put_clean(&line, json_object_iter_key(at));
        text_append_char(&line, ' ');
        put_rate(&line, rate);
        text_append(&line, SLICE("  "));
        is_empty = false;
    }
    if (is_empty)
        text_append_char(&line, '-');
    put_line(view, out, PLAIN, text_slice(&line));
}

static void draw_clients(struct top_view *view, struct text *out, const json_t *event)
{
    const json_t *clients = json_object_get(event, "clients");
    size_t key_width = view->width > 90 ? 48 : view->width > 60 ? view->width - 42 : 20;
    char memory[MAX_COLUMNS * 2];
    struct text line;

    text_init(&line, memory, sizeof(memory));
    put_column(&line, "MOST LIMITED, LAST MINUTE", key_width);
    text_append(&line, SLICE(" REFUSED  TIER       ROUTE      WINDOW"));
    put_line(view, out, DIM, text_slice(&line));
    for (size_t i = 0; i < json_array_size(clients); i++) {
        const json_t *client = json_array_get(clients, i);

        line.length = 0;
        put_column(&line, text_of(client, "key"), key_width);
        text_append_format(&line, "%8.0f  ", number_of(client, "denied"));
        put_column(&line, text_of(client, "tier"), 10);
        put_column(&line, text_of(client, "route"), 10);
        put_clean(&line, text_of(client, "window"));
        put_line(view, out, PLAIN, text_slice(&line));
    }
    if (json_array_size(clients) == 0)
        put_line(view, out, PLAIN, SLICE("nobody"));
}

static void draw_endpoints(struct top_view *view, struct text *out, const json_t *event)
{
    const json_t *endpoints = json_object_get(event, "endpoints");
    double workers = number_of(event, "workers");
    char memory[MAX_COLUMNS * 2];
    struct text line;

    put_line(view, out, DIM, SLICE("UPSTREAM"));
    for (size_t i = 0; i < json_array_size(endpoints); i++) {
        const json_t *endpoint = json_array_get(endpoints, i);
        double ejecting = number_of(endpoint, "workers_ejecting");

        text_init(&line, memory, sizeof(memory));
        put_column(&line, text_of(endpoint, "address"), 26);
        text_append(&line, ejecting <= 0         ? SLICE("in use")
                           : ejecting >= workers ? SLICE("LEFT OUT")
                                                 : SLICE("left out by some workers"));
        text_append_format(&line, ", %.0f requests, %.0f failures", number_of(endpoint, "requests"),
                           number_of(endpoint, "failures"));
        put_line(view, out, ejecting > 0 ? AMBER : PLAIN, text_slice(&line));
    }
}

void top_view_add(struct top_view *view, const json_t *event)
{
    size_t rest = (TOP_VIEW_POINTS - 1) * sizeof(double);
    const json_t *decisions = json_object_get(event, "decisions_per_second");

    if (number_of(event, "interval_ms") <= 0)
        return;
    memmove(view->requests, view->requests + 1, rest);
    memmove(view->denied, view->denied + 1, rest);
    view->requests[TOP_VIEW_POINTS - 1] = number_of(event, "requests_per_second");
    view->denied[TOP_VIEW_POINTS - 1] = number_of(decisions, "denied");
    if (view->points < TOP_VIEW_POINTS)
        view->points++;
}

static void
draw_title(struct top_view *view, struct text *out, const json_t *event, const char *link)
{
    char memory[MAX_COLUMNS * 2];
    struct text line;

    text_init(&line, memory, sizeof(memory));
    text_append(&line, SLICE("kamiyo-gateway "));
    if (event != NULL) {
        put_clean(&line, text_of(event, "version"));
        text_append(&line, SLICE(", up "));
        put_span(&line, number_of(event, "time_ms") - number_of(event, "started_ms"));
        text_append_format(&line, ", %.0f workers, ", number_of(event, "workers"));
    }
    put_clean(&line, link);
    put_line(view, out, BOLD, text_slice(&line));
}

void top_view_draw(struct top_view *view, const json_t *event, const char *link, struct text *out)
{
    char memory[MAX_COLUMNS * 4];
    struct text line;

    /* The last line stays empty: writing its end would scroll the screen. */
    view->lines_left = view->height > 2 ? view->height - 2 : 0;
    if (view->width > MAX_COLUMNS)
        view->width = MAX_COLUMNS;
    text_append(out, SLICE("\033[H"));
    draw_title(view, out, event, link);
    if (event != NULL) {
        text_init(&line, memory, sizeof(memory));
        put_store(&line, event);
        put_line(view, out, is_away(event) ? AMBER : PLAIN, text_slice(&line));
        put_line(view, out, PLAIN, SLICE(""));
        draw_rate(view, out, "Requests", number_of(event, "requests_per_second"), view->requests);
        draw_rate(view, out, "Limited",
                  number_of(json_object_get(event, "decisions_per_second"), "denied"),
                  view->denied);
        draw_times(view, out, event);
        draw_rates(view, out, "Answers", json_object_get(event, "status_per_second"));
        draw_rates(view, out, "Decided", json_object_get(event, "modes_per_second"));
        draw_rates(view, out, "Refused", json_object_get(event, "denied_per_second"));
        put_line(view, out, PLAIN, SLICE(""));
        draw_clients(view, out, event);
        put_line(view, out, PLAIN, SLICE(""));
        draw_endpoints(view, out, event);
    }
    view->lines_left = 1;
    text_append(out, SLICE("\033[J"));
    put_line(view, out, DIM, SLICE("q quits"));
}

void top_view_put_line(const json_t *event, struct text *out)
{
    const json_t *first = json_array_get(json_object_get(event, "clients"), 0);
    char time[TEXT_TIMESTAMP_SIZE];

    text_format_timestamp((int64_t)number_of(event, "time_ms"), time);
    text_append_format(out, "%s requests %.1f/s, limited %.1f/s, 99 %% within ", time,
                       number_of(event, "requests_per_second"),
                       number_of(json_object_get(event, "decisions_per_second"), "denied"));
    put_time(out, json_object_get(json_object_get(event, "duration_ms"), "p99"));
    text_append_format(out, ", connections %.0f, store ", number_of(event, "connections"));
    put_clean(out, text_of(json_object_get(event, "store"), "mode"));
    if (first != NULL) {
        text_append(out, SLICE(", most limited "));
        put_clean(out, text_of(first, "key"));
        text_append_format(out, " %.0f", number_of(first, "denied"));
    }
    text_append_char(out, '\n');
}
