/* SPDX-License-Identifier: MIT */
/*
 * `explain`: what the gateway would make of one request: route, client address,
 * identity, tier, each bucket and the fields of the answer. Charges nothing.
 * Dry, it walks through the configuration itself and takes the buckets for
 * full; with --live the running gateway walks (/api/explain), with its buckets
 * and its store. Both come back in one form (explain_json.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "kamiyo/app/admin_client.h"
#include "kamiyo/app/command.h"
#include "kamiyo/app/explain.h"
#include "kamiyo/app/explain_json.h"
#include "kamiyo/app/explain_text.h"
#include "kamiyo/app/options.h"
#include "kamiyo/app/snapshot.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"
#include "kamiyo/config/config_report.h"

#define MAX_FIELDS_BYTES 65536
#define MAX_TARGET_BYTES 16384
/* The gateway's own patience with its store is far below. */
#define LIVE_TIMEOUT_MS 5000

struct question {
    const struct options *options; /* for complaints */
    const char *method;
    const char *target;
    struct addr peer;
    const char *admin; /* --admin; NULL = as configured */
    bool is_live;
    bool is_json;
    struct text fields; /* whole lines */
    char memory[MAX_FIELDS_BYTES];
};

/* One field, as it is given; `where` it stands, for the complaint, which never shows it. */
static bool add_field(struct question *question, const char *line, const char *where)
{
    static const char key[] = "X-API-Key:";

    if (strchr(line, ':') == NULL) {
        options_complain(question->options, "%s is no field: \"Name: value\"", where);
        return false;
    }
    if (question->is_live && strncasecmp(line, key, sizeof(key) - 1) != 0) {
        options_complain(question->options,
                         "%s: with --live only X-API-Key can be given. A token, and whatever "
                         "another field does, is explained without --live",
                         where);
        return false;
    }
    text_append_format(&question->fields, "%s\r\n", line);
    if (question->fields.overflow)
        options_complain(question->options, "the fields are too long");
    return !question->fields.overflow;
}

/* "-H @file": a field on each line, so that a secret need not stand in the shell's history. */
static bool add_file(struct question *question, const char *path)
{
    char line[8192];
    char where[300];
    bool is_well = true;
    FILE *file = fopen(path, "re");

    if (file == NULL) {
        options_complain(question->options, "\"%s\" cannot be read", path);
        return false;
    }
    for (int i = 1; is_well && fgets(line, sizeof(line), file) != NULL; i++) {
        line[strcspn(line, "\r\n")] = '\0';
        (void)snprintf(where, sizeof(where), "%s, line %d,", path, i); /* cut if need be */
        is_well = line[0] == '\0' || add_field(question, line, where);
    }
    mem_wipe(line, sizeof(line));
    (void)fclose(file); /* nothing was written to it */
    return is_well;
}

static bool add_fields(struct question *question, const struct options_words *headers)
{
    bool is_well = true;

    text_init(&question->fields, question->memory, sizeof(question->memory));
    for (size_t i = 0; is_well && i < headers->count; i++) {
        const char *line = headers->items[i];

        is_well = line[0] == '@' ? add_file(question, line + 1)
                                 : add_field(question, line, "what is given with -H");
    }
    return is_well;
}

/* ---- dry */

static char *explain_dry(const struct question *question, struct snapshot *snapshot)
{
    struct explain_parts parts = {.snapshot = snapshot};
    struct explain *explain;
    char *json;
    size_t length;

    clock_read(&parts.now);
    parts.identity = identity_chain_create(snapshot->identity, NULL, NULL);
    explain = explain_create(&parts, &question->peer, slice_of(question->method),
                             slice_of(question->target), text_slice(&question->fields));
    json = explain_start(explain, NULL, NULL) == PROGRESS_DONE /* there is nobody to wait for */
               ? explain_json_format(explain, &length)
               : NULL;
    explain_destroy(&explain);
    identity_chain_destroy(&parts.identity);
    return json;
}

/* ---- live */

/* RFC 3986 2.3: what stands for itself anywhere in a URL. */
static void put_escaped(struct text *out, const char *text)
{
    for (; *text != '\0'; text++) {
        char byte = *text;

        if ((byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
            (byte >= 'a' && byte <= 'z') || strchr("-._~/", byte) != NULL)
            text_append_char(out, byte);
        else
            text_append_percent(out, byte);
    }
}

/* NULL: told. `from` is filled with whom was asked. */
static char *
explain_live(const struct question *question, const struct config *config, char from[128])
{
    char target[MAX_TARGET_BYTES];
    char address[ADDR_TEXT_SIZE];
    struct admin_client client;
    struct text text;
    char *json;
    size_t length;

    if (!admin_client_init(&client, "explain", question->admin, config))
        return NULL;
    (void)addr_format(&question->peer, address);
    text_init(&text, target, sizeof(target));
    text_append(&text, SLICE("/api/explain?method="));
    put_escaped(&text, question->method);
    text_append(&text, SLICE("&path="));
    put_escaped(&text, question->target);
    text_append(&text, SLICE("&ip="));
    put_escaped(&text, address);
    (void)text_terminate(&text);
    if (text.overflow) {
        options_complain(question->options, "the path is too long");
        return NULL;
    }
    if (!admin_client_get(&client, target, text_slice(&question->fields), LIVE_TIMEOUT_MS, &json,
                          &length))
        return NULL;
    (void)snprintf(from, 128, "%s", client.name); /* as long */
    return json;
}

/* ---- both */

static int explain(const struct question *question, const struct config_overrides *overrides)
{
    struct snapshot *snapshot;
    struct error_list errors;
    char *json = NULL;
    char from[128] = "";
    bool is_well;

    error_list_init(&errors);
    snapshot = snapshot_load(overrides, &errors);
    if (snapshot == NULL) {
        char *report = config_format_errors(&errors);

        (void)fputs(report, stderr);
        mem_free(report);
    } else if (question->is_live) {
        json = explain_live(question, snapshot->config, from);
    } else {
        json = explain_dry(question, snapshot);
    }
    is_well = json != NULL;
    if (is_well && question->is_json)
        (void)fputs(json, stdout);
    else if (is_well && !explain_text_print(json, question->is_live ? from : NULL))
        is_well = false;
    if (json != NULL && !is_well)
        (void)fprintf(stderr, "kamiyo-gateway explain: what %s answers is no explanation\n", from);
    mem_free(json);
    snapshot_unref(&snapshot);
    error_list_clear(&errors);
    return is_well ? COMMAND_OK : COMMAND_FAILED;
}

/* "GET /path" as two words or one; a path alone is a GET. */
static bool
split_words(const struct options_words *words, char memory[4096], struct question *question)
{
    char *space;

    if (words->count == 2) {
        question->method = words->items[0];
        question->target = words->items[1];
        return true;
    }
    if (words->count != 1 || strlen(words->items[0]) >= 4096)
        return false;
    (void)snprintf(memory, 4096, "%s", words->items[0]);
    space = strchr(memory, ' ');
    question->method = space != NULL ? memory : "GET";
    question->target = space != NULL ? space + 1 : memory;
    if (space != NULL)
        *space = '\0';
    return true;
}

static bool parse_peer(struct question *question, const char *ip)
{
    if (strcmp(ip, "unix") == 0)
        question->peer.family = ADDR_UNIX;
    else if (!addr_parse(slice_of(ip), &question->peer)) {
        options_complain(question->options, "--ip must be an address or unix, not \"%s\"", ip);
        return false;
    }
    return true;
}

static bool parse_format(struct question *question, const char *format)
{
    question->is_json = strcmp(format, "json") == 0;
    if (!question->is_json && strcmp(format, "text") != 0) {
        options_complain(question->options, "--format is text or json, not \"%s\"", format);
        return false;
    }
    return true;
}

int command_explain(int argc, char **argv)
{
    struct config_overrides overrides = {.path = NULL};
    const char *ip = "127.0.0.1", *format = "text", *admin = NULL;
    bool is_live = false;
    struct options_words headers = {.count = 0};
    const struct options_item items[] = {
        {"config", 'c', OPTIONS_TEXT, &overrides.path, "FILE", "the configuration"},
        {"ip", 'i', OPTIONS_TEXT, &ip, "ADDRESS", "who connects; 127.0.0.1 if not given"},
        {"header", 'H', OPTIONS_LIST, &headers, "FIELD", "a field, or @FILE with one on each line"},
        {"live", 'l', OPTIONS_SWITCH, &is_live, NULL,
         "ask the running gateway; of fields it takes X-API-Key only"},
        {"admin", 'a', OPTIONS_TEXT, &admin, "ADDRESS", "its admin listener; else admin.listen"},
        {"format", 'f', OPTIONS_TEXT, &format, "text|json", "how to say it"},
        {.name = NULL}};
    const struct options options = {
        .command = "explain",
        .usage = "METHOD PATH [--ip ADDRESS] [-H 'Name: value']... [--live]",
        .doc =
            "Tells route, identity, tier, buckets and fields that a request would get, and\n"
            "charges nothing. Without --live nobody is asked: buckets are taken for full.\n"
            "With --live the running gateway says what it would decide now; the admin token\n"
            "is ADMIN_TOKEN, or admin.token of the configuration.\n"
            "Exits 0 when it could say, whatever the answer is (--format json has \"allowed\"),\n"
            "1 when it could not, 2 when it was called wrongly.",
        .items = items,
        .max_words = 2};
    struct options_words words;
    enum options_result result = options_parse(&options, argc, argv, &words);
    struct question *question;
    char memory[4096];
    int status = COMMAND_USAGE;

    if (result != OPTIONS_PROCEED)
        return result == OPTIONS_HELPED ? COMMAND_OK : COMMAND_USAGE;
    question = mem_alloc_zero(sizeof(*question));
    question->options = &options;
    question->is_live = is_live;
    question->admin = admin;
    if (!split_words(&words, memory, question))
        options_complain(&options, "a method and a path are needed, as GET /exploits");
    else if (admin != NULL && !is_live)
        options_complain(&options, "--admin is for --live");
    else if (parse_peer(question, ip) && parse_format(question, format) &&
             add_fields(question, &headers))
        status = explain(question, &overrides);
    mem_wipe(question->memory, sizeof(question->memory));
    mem_free(question);
    return status;
}
