/* SPDX-License-Identifier: MIT */
/*
 * `top`: the live page in a terminal, by its escapes alone. It watches the admin
 * listener's /api/events, comes back when that ends, and leaves the terminal as
 * it was, however it is left. Where stdout is no terminal, a line a second.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "kamiyo/app/admin_client.h"
#include "kamiyo/app/command.h"
#include "kamiyo/app/options.h"
#include "kamiyo/base/clock.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/config/config_load.h"
#include "kamiyo/config/config_report.h"

#include "app/admin_stream.h"
#include "app/top_view.h"

enum {
    ASK_MS = 5000,   /* for the first answer */
    QUIET_MS = 5000, /* without an event: the connection is taken for dead */
    AGAIN_MS = 1000, /* between attempts to come back */
    SCREEN_BYTES = 65536
};

/* Set by signals, read between waits: the only ways for them to be seen. */
static volatile sig_atomic_t was_told_to_end;
static volatile sig_atomic_t was_resized;

static void on_signal(int number)
{
    if (number == SIGWINCH)
        was_resized = 1;
    else
        was_told_to_end = 1;
}

struct top {
    const struct admin_client *client;
    struct admin_stream stream;
    struct top_view view;
    json_t *event; /* the last; NULL = none yet */
    const char *link;
    bool is_screen;
    bool is_over;
    long events_left; /* 0 = without end */
    int64_t quiet_until_ms;
    struct termios former; /* of the terminal that stdin is */
    bool has_former;
    sigset_t waiting; /* the mask while waiting */
};

/* What does not go out because nobody reads any more ends it. */
static void write_all(struct top *top, struct slice bytes)
{
    while (bytes.length > 0) {
        ssize_t count = write(STDOUT_FILENO, bytes.data, bytes.length);

        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            top->is_over = true;
            return;
        }
        bytes = (struct slice){bytes.data + count, bytes.length - (size_t)count};
    }
}

static void show(struct top *top)
{
    char *memory = mem_alloc(SCREEN_BYTES);
    struct text out;

    text_init(&out, memory, SCREEN_BYTES);
    if (top->is_screen)
        top_view_draw(&top->view, top->event, top->link, &out);
    else if (top->event != NULL)
        top_view_put_line(top->event, &out);
    write_all(top, text_slice(&out));
    mem_free(memory);
}

/* ---- the terminal */

static void measure(struct top *top)
{
    struct winsize size = {0};

    was_resized = 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
        size = (struct winsize){.ws_col = 80, .ws_row = 24};
    top->view.width = size.ws_col;
    top->view.height = size.ws_row;
}

static bool speaks_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const char *value = getenv(names[i]);

        if (value != NULL && value[0] != '\0')
            return strcasestr(value, "UTF-8") != NULL || strcasestr(value, "UTF8") != NULL;
    }
    return false;
}

static void enter_screen(struct top *top)
{
    const char *term = getenv("TERM");
    const char *no_color = getenv("NO_COLOR");

    top->is_screen = isatty(STDOUT_FILENO) && term != NULL && strcmp(term, "dumb") != 0;
    if (!top->is_screen)
        return;
    top->view.has_color = no_color == NULL || no_color[0] == '\0';
    top->view.has_utf8 = speaks_utf8();
    measure(top);
    if (isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &top->former) == 0) {
        struct termios raw = top->former;

        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw.c_cc[VSUSP] = _POSIX_VDISABLE; /* stopped, it would leave the terminal like this */
        top->has_former = tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) == 0;
    }
    write_all(top, SLICE("\033[?1049h\033[?25l\033[2J")); /* the other screen, no cursor */
}

static void leave_screen(struct top *top)
{
    if (!top->is_screen)
        return;
    write_all(top, SLICE("\033[?25h\033[?1049l"));
    if (top->has_former)
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &top->former); /* gone is fine */
}

/* Signals are seen only while waiting, so that none falls between a look and a wait. */
static void watch_signals(struct top *top)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH};
    const struct sigaction action = {.sa_handler = on_signal};
    sigset_t blocked;

    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(&blocked);
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        (void)sigaction(numbers[i], &action, NULL);
        (void)sigaddset(&blocked, numbers[i]);
    }
    (void)sigprocmask(SIG_BLOCK, &blocked, &top->waiting);
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        (void)sigdelset(&top->waiting, numbers[i]);
}

/* ---- events */

static void lose(struct top *top)
{
    admin_stream_close(&top->stream);
    top->link = "connection lost, trying again";
    top->quiet_until_ms = clock_monotonic_ms() + AGAIN_MS;
    if (top->is_screen)
        show(top);
    else
        (void)fprintf(stderr, "kamiyo-gateway top: %s\n", top->link);
}

static void take_event(struct top *top, struct slice data)
{
    json_t *event = json_loadb(data.data, data.length, 0, NULL);

    if (event == NULL)
        return;
    json_decref(top->event);
    top->event = event;
    top->link = "live";
    top->quiet_until_ms = clock_monotonic_ms() + QUIET_MS;
    top_view_add(&top->view, event);
    show(top);
    if (top->events_left > 0 && --top->events_left == 0)
        top->is_over = true;
}

static void receive(struct top *top)
{
    struct slice data;

    if (!admin_stream_receive(&top->stream, AGAIN_MS)) {
        lose(top);
        return;
    }
    while (!top->is_over && admin_stream_next(&top->stream, &data))
        take_event(top, data);
}

/* Keys: q, or the end of the input. */
static void read_keys(struct top *top, struct pollfd *keys)
{
    char bytes[64];
    ssize_t count = read(STDIN_FILENO, bytes, sizeof(bytes));

    if (count <= 0) {
        keys->fd = -1; /* nobody is there to press any */
        return;
    }
    if (memchr(bytes, 'q', (size_t)count) != NULL || memchr(bytes, 'Q', (size_t)count) != NULL)
        top->is_over = true;
}

static void come_back(struct top *top)
{
    if (top->stream.fd >= 0) {
        lose(top); /* open, and nothing came */
        return;
    }
    if (admin_stream_open(&top->stream, top->client, AGAIN_MS))
        top->quiet_until_ms = clock_monotonic_ms() + QUIET_MS;
    else
        top->quiet_until_ms = clock_monotonic_ms() + AGAIN_MS;
}

static void watch(struct top *top)
{
    struct pollfd polled[] = {{.events = POLLIN}, {.fd = -1, .events = POLLIN}};

    if (top->is_screen && top->has_former)
        polled[1].fd = STDIN_FILENO;
    while (!top->is_over && !was_told_to_end) {
        int64_t left_ms = top->quiet_until_ms - clock_monotonic_ms();
        struct timespec wait = {left_ms > 0 ? left_ms / 1000 : 0,
                                left_ms > 0 ? left_ms % 1000 * 1000000 : 0};
        int ready;

        polled[0].fd = top->stream.fd;
        ready = ppoll(polled, COUNT_OF(polled), &wait, &top->waiting);
        if (was_resized && top->is_screen) {
            measure(top);
            show(top);
        }
        if (ready == 0)
            come_back(top);
        if (ready > 0 && polled[1].revents != 0)
            read_keys(top, &polled[1]);
        if (ready > 0 && polled[0].revents != 0)
            receive(top);
    }
}

/* Once as any other command, which tells what is wrong; then without words. */
static int run(const struct admin_client *client, long count)
{
    struct top top = {.client = client, .link = "connecting", .events_left = count};
    char *status;
    size_t length;

    if (!admin_client_get(client, "/api/status", SLICE(""), ASK_MS, &status, &length))
        return COMMAND_FAILED;
    mem_free(status);
    admin_stream_init(&top.stream);
    watch_signals(&top);
    enter_screen(&top);
    if (top.is_screen)
        show(&top);
    watch(&top); /* opens the stream at once: nothing has been waited for yet */
    leave_screen(&top);
    admin_stream_close(&top.stream);
    json_decref(top.event);
    return COMMAND_OK;
}

static const char *environment(const char *name)
{
    return getenv(name);
}

int command_top(int argc, char **argv)
{
    struct config_overrides overrides = {.path = NULL};
    const char *admin = NULL;
    const char *count_text = NULL;
    const struct options_item items[] = {
        {"config", 'c', OPTIONS_TEXT, &overrides.path, "FILE",
         "the configuration that names the admin listener and its token"},
        {"admin", 'a', OPTIONS_TEXT, &admin, "ADDRESS", "the admin listener, instead"},
        {"count", 'n', OPTIONS_TEXT, &count_text, "NUMBER", "end after so many seconds"},
        {.name = NULL}};
    const struct options options = {
        .command = "top",
        .usage = "[--config FILE] [--admin ADDRESS] [--count NUMBER]",
        .doc =
            "Shows what the running gateway does, once a second: rates, times, who decides, who\n"
            "is limited most. q ends it. A line a second where stdout is no terminal. The\n"
            "admin token is ADMIN_TOKEN or the configuration's; NO_COLOR is heeded.",
        .items = items};
    enum options_result result = options_parse(&options, argc, argv, NULL);
    struct error_list errors;
    struct config *config;
    uint64_t count = 0;
    int status = COMMAND_FAILED;

    if (result != OPTIONS_PROCEED)
        return result == OPTIONS_HELPED ? COMMAND_OK : COMMAND_USAGE;
    if (count_text != NULL &&
        (!slice_parse_u64(slice_of(count_text), &count) || count < 1 || count > 1000000)) {
        options_complain(&options, "--count is a number from 1 to 1000000, not \"%s\"", count_text);
        return COMMAND_USAGE;
    }
    error_list_init(&errors);
    config = config_load(&overrides, environment, &errors);
    if (config == NULL) {
        char *report = config_format_errors(&errors);

        (void)fputs(report, stderr);
        mem_free(report);
    } else {
        struct admin_client client;

        if (admin_client_init(&client, "top", admin, config))
            status = run(&client, (long)count);
    }
    config_destroy(&config);
    error_list_clear(&errors);
    return status;
}
