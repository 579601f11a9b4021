/* SPDX-License-Identifier: MIT */
/*
 * The one place that knows how an explanation looks to a person, whoever made
 * it. Reads what explain_json.h draws.
 */
#include "kamiyo/app/explain_text.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "kamiyo/base/text.h"

static const char *word(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

static long long number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static bool is_set(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}

static bool is_word(const json_t *object, const char *name, const char *expected)
{
    return strcmp(word(object, name), expected) == 0;
}

static const char *plural(long long count)
{
    return count == 1 ? "" : "s";
}

static void print_route(const json_t *route)
{
    const char *name = word(route, "name");
    bool is_limited = !is_word(route, "limits", "none");

    if (number(route, "index") == 0)
        printf("route     none matches: the tier's limits");
    else
        printf("route     %lld%s%s%s: %s", number(route, "index"), name[0] != '\0' ? " \"" : "",
               name, name[0] != '\0' ? "\"" : "",
               !is_limited                       ? "not limited"
               : is_word(route, "limits", "own") ? "limits of its own"
                                                 : "the tier's limits");
    if (is_limited)
        printf(", cost %lld", number(route, "cost"));
    if (word(route, "cost_from")[0] != '\0')
        printf(", and up to %lld more from %s", number(route, "max_cost"),
               word(route, "cost_from"));
    if (number(route, "concurrency") > 0)
        printf(", %lld at a time", number(route, "concurrency"));
    puts(is_set(route, "shadow") ? ", shadow: never refused" : "");
}

static void print_client(const json_t *client)
{
    printf("client    %s", word(client, "address"));
    if (is_word(client, "source", "field"))
        printf(" (named by the trusted peer's field)");
    else
        printf(" (the peer%s)", is_set(client, "peer_trusted") ? ", which is trusted" : "");
    if (is_set(client, "fields_ignored"))
        printf(
            "; its forwarding fields are not believed: client_ip.trusted_proxies does not name it");
    if (is_set(client, "chain_short"))
        printf("; fewer entries than client_ip.hops");
    putchar('\n');
}

static void print_identity(const json_t *explanation)
{
    static const struct {
        const char *method;
        const char *words;
    } methods[] = {{"header", " (by the trusted peer's field)"},
                   {"api_key", " (by its API key)"},
                   {"jwt", " (by its token)"}};
    const json_t *identity = json_object_get(explanation, "identity");
    long long keys = number(identity, "keys"), tokens = number(identity, "tokens");
    const char *named = word(identity, "named_tier");

    printf("identity  %s", word(identity, "key"));
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (is_word(identity, "found_by", methods[i].method))
            printf("%s", methods[i].words);
    if (is_word(identity, "found_by", "address") && keys + tokens > 0)
        printf(" (%lld key%s and %lld token%s shown, none verified)", keys, plural(keys), tokens,
               plural(tokens));
    if (is_set(identity, "unasked"))
        printf("; keys in Redis are not looked up here");
    printf("\ntier      %s", word(explanation, "tier"));
    if (named[0] != '\0' && !is_word(explanation, "tier", named))
        printf(" (the identity says \"%s\", which is no tier)", named);
    putchar('\n');
}

static void print_windows(const json_t *explanation)
{
    const char *name;
    json_t *window;

    if (word(explanation, "mode")[0] != '\0')
        printf("store     %s\n", word(explanation, "mode"));
    json_object_foreach(json_object_get(explanation, "windows"), name, window)
    {
        char period[24];

        printf("bucket    %s\n          %lld in %s, at most %lld at once", word(window, "key"),
               number(window, "limit"), text_format_duration(number(window, "period_ms"), period),
               number(window, "capacity"));
        if (number(window, "capacity") != number(window, "burst"))
            printf(" (a share of %lld, while Redis is away)", number(window, "burst"));
        if (is_word(explanation, "decision", "allowed")) {
            printf("; %lld left after this request\n", number(window, "remaining_after"));
        } else {
            printf("; %lld left", number(window, "remaining"));
            if (number(window, "wait_ms") > 0)
                printf(", enough in %s", text_format_duration(number(window, "wait_ms"), period));
            putchar('\n');
        }
    }
}

static void print_headers(const json_t *explanation)
{
    const json_t *headers = json_object_get(explanation, "headers");
    const char *name;
    json_t *value;

    puts(json_object_size(headers) > 0 ? ", with" : "");
    json_object_foreach((json_t *)json_object_get(explanation, "headers"), name, value)
    {
        printf("          %s: %s\n", name, json_string_value(value));
    }
}

static void print_answer(const json_t *explanation)
{
    const char *reason = word(explanation, "reason");
    const char *window = word(explanation, "window");
    long long wait_ms = number(explanation, "retry_after_ms");
    char wait[24];

    if (is_word(explanation, "decision", "exempt")) {
        printf("answer    the upstream's: %s, so no bucket is touched\n", reason);
        return;
    }
    if (is_set(explanation, "allowed"))
        printf("answer    the upstream's");
    else
        printf("answer    %lld", number(explanation, "status"));
    if (is_word(explanation, "decision", "shadow"))
        printf(", though refused");
    if (reason[0] != '\0')
        printf(": %s", reason);
    if (strcmp(window, "failures") == 0)
        printf(": this address has shown too many keys that do not verify");
    else if (strcmp(window, "concurrency") == 0)
        printf(": as many requests are in flight as the route allows");
    else if (window[0] != '\0')
        printf(": the %s's limit", window);
    if (wait_ms > 0)
        printf("; again in %s", text_format_duration(wait_ms, wait));
    print_headers(explanation);
}

bool explain_text_print(const char *json, const char *from)
{
    json_t *explanation = json_loads(json, 0, NULL);
    bool is_one = json_is_boolean(json_object_get(explanation, "allowed"));

    if (is_one) {
        printf("request   %s %s\n", word(explanation, "method"), word(explanation, "path"));
        if (from != NULL)
            printf("asked     %s, version %s: as it decides now\n", from,
                   word(explanation, "version"));
        if (json_is_object(json_object_get(explanation, "route")))
            print_route(json_object_get(explanation, "route"));
        if (json_is_object(json_object_get(explanation, "client")))
            print_client(json_object_get(explanation, "client"));
        if (json_is_object(json_object_get(explanation, "identity")))
            print_identity(explanation);
        print_windows(explanation);
        print_answer(explanation);
    }
    json_decref(explanation);
    return is_one;
}
