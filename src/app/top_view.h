/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "kamiyo/base/text.h"

/*
 * What `top` shows of an event of /api/events: a screen of a terminal, or a
 * line for a file. Pure: an event in, text out. Whatever the event says comes
 * out without control characters, and no line is longer than the screen is
 * wide.
 */
#define TOP_VIEW_POINTS 120

struct top_view {
    size_t width;
    size_t height;
    bool has_color;
    bool has_utf8;
    double requests[TOP_VIEW_POINTS]; /* the last two minutes, the latest last */
    double denied[TOP_VIEW_POINTS];
    size_t points;
    size_t lines_left; /* of the screen that is being drawn */
};

/* Remember an event's rates for the graphs. */
void top_view_add(struct top_view *view, const json_t *event);
/* The screen, from its upper left corner on; `link` = how the connection is. `event` may be NULL:
 * none has come yet. */
void top_view_draw(struct top_view *view, const json_t *event, const char *link, struct text *out);
/* One line with its end. */
void top_view_put_line(const json_t *event, struct text *out);
