/* SPDX-License-Identifier: MIT */
/*
 * The screen of `top`: what stands on it, its bounds, and that nothing of an
 * event speaks to the terminal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/attributes.h"

#include "app/top_view.h"

static const char event_text[] =
    "{\"time_ms\": 1795476470120, \"started_ms\": 1795476460000, \"version\": \"1.2.3\","
    " \"interval_ms\": 1000, \"requests_per_second\": 16.0, \"workers\": 2, \"connections\": 3,"
    " \"status_per_second\": {\"2xx\": 10.0, \"3xx\": 0.0, \"4xx\": 6.0},"
    " \"decisions_per_second\": {\"denied\": 6.0, \"allowed\": 10.0},"
    " \"modes_per_second\": {\"fallback\": 16.0}, \"denied_per_second\": {\"free\": 6.0},"
    " \"duration_ms\": {\"p50\": 0.25, \"p99\": 12.5},"
    " \"store\": {\"mode\": \"fallback\", \"redis\": {\"since_ms\": 1795476458120, \"reason\":"
    " \"connection refused\"}}, \"upstream\": {\"connections\": 4},"
    " \"clients\": [{\"key\": \"user:\\u001b[31m\\u00e9\\n\", \"tier\": \"free\", \"route\":"
    " \"default\", \"window\": \"minute\", \"denied\": 42}],"
    " \"endpoints\": [{\"address\": \"127.0.0.1:8000\", \"workers_ejecting\": 2, \"requests\": 7,"
    " \"failures\": 5}]}";

static char memory[65536];

static const char *draw(struct top_view *view, const json_t *event)
{
    struct text out;

    text_init(&out, memory, sizeof(memory));
    top_view_draw(view, event, "live", &out);
    assert_false(out.overflow);
    return text_terminate(&out);
}

static json_t *load_event(void)
{
    json_t *event = json_loads(event_text, 0, NULL);

    assert_non_null(event);
    return event;
}

static void assert_has(const char *screen, const char *part)
{
    if (strstr(screen, part) == NULL)
        fail_msg("\"%s\" is missing in %s", part, screen);
}

static void test_screen(void **state)
{
    struct top_view view = {.width = 100, .height = 40};
    json_t *event = load_event();
    const char *screen;

    (void)state;
    screen = draw(&view, NULL);
    assert_has(screen, "kamiyo-gateway live");
    top_view_add(&view, event);
    screen = draw(&view, event);
    assert_has(screen, "kamiyo-gateway 1.2.3, up 10 s, 2 workers, live");
    assert_has(screen,
               "Redis away for 12 s: this gateway decides from its own table (connection refused)");
    assert_has(screen, "Requests  16/s");
    assert_has(screen, "Limited   6.0/s         #");
    assert_has(screen, "99 % within 12.5 ms, half within 250 us; 3 clients, 4 upstream");
    assert_has(screen, "Answers   2xx 10  4xx 6.0  \033");
    assert_has(screen, "Decided   fallback 16");
    assert_has(screen, "127.0.0.1:8000             LEFT OUT, 7 requests, 5 failures");
    /* What is no printable ASCII is not printed. */
    assert_has(screen, "user:?[31m??? ");
    assert_null(strstr(screen, "\033[31m"));
    assert_null(strstr(screen, "\033[0m"));
    view.has_color = true;
    screen = draw(&view, event);
    assert_has(screen, "\033[33mRedis away");
    json_decref(event);
}

/* Whatever the terminal's size: no more lines, none wider. */
static void test_bounds(void **state)
{
    static const size_t sizes[][2] = {{1, 1}, {3, 2}, {20, 8}, {61, 3}, {80, 24}, {1000, 500}};
    struct top_view view = {.has_utf8 = true};
    json_t *event = load_event();

    (void)state;
    for (size_t i = 0; i < TOP_VIEW_POINTS + 3; i++)
        top_view_add(&view, event);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        size_t lines = 0;
        size_t columns = 0;
        bool is_escape = false;

        view.width = sizes[i][0];
        view.height = sizes[i][1];
        for (const char *at = draw(&view, event); *at != '\0'; at++) {
            if (*at == '\033')
                is_escape = true;
            else if (is_escape)
                is_escape = *at == '[' || *at == '?' || (*at >= '0' && *at <= '9');
            else if (*at == '\n')
                lines++;
            if (*at == '\r')
                columns = 0;
            else if (!is_escape && ((unsigned char)*at & 0xc0) != 0x80 && *at >= ' ')
                columns += at[0] == 'K' || at[0] == 'H' || at[0] == 'J' ? at[-1] != '[' : 1;
            assert_true(columns <= sizes[i][0]);
        }
        assert_true(lines <= (sizes[i][1] > 2 ? sizes[i][1] - 1 : 1));
    }
    json_decref(event);
}

static void test_line(void **state)
{
    json_t *event = load_event();
    struct text out;

    (void)state;
    text_init(&out, memory, sizeof(memory));
    top_view_put_line(event, &out);
    assert_string_equal(text_terminate(&out),
                        "2026-11-23T23:27:50.120Z requests 16.0/s, limited 6.0/s, 99 % within 12.5 "
                        "ms, connections 3, store fallback, most limited user:?[31m??? 42\n");
    json_decref(event);
    /* Of another version, with nothing in it: still a line. */
    event = json_object();
    text_init(&out, memory, sizeof(memory));
    top_view_put_line(event, &out);
    assert_has(text_terminate(&out), "requests 0.0/s");
    (void)draw(&(struct top_view){.width = 80, .height = 24}, event);
    json_decref(event);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_screen),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
