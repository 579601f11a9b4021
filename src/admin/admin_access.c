/* SPDX-License-Identifier: MIT */
/*
 * Who may ask the admin listener. Two doors: the Host check keeps out web
 * pages that had a name of theirs rebound to this address (their requests
 * carry that name), the token keeps out everyone else where one is set.
 */
#include <string.h>

#include "kamiyo/base/hash.h"
#include "kamiyo/base/mem.h"
#include "kamiyo/base/text.h"

#include "admin/admin_internal.h"

#define COOKIE_NAME "kamiyo_admin"

static void make_session(char session[33])
{
    unsigned char random[16];
    struct text text;

    hash_random(random, sizeof(random));
    text_init(&text, session, 33);
    text_append_hex(&text, random, sizeof(random));
    (void)text_terminate(&text); /* it fits */
}

/* "127.0.0.1:9901" without the port, "[::1]" with its brackets. */
static struct slice host_of(struct slice authority)
{
    size_t end;

    if (authority.length > 0 && authority.data[0] == '[') {
        end = slice_find(authority, ']');
        return (struct slice){authority.data, end < authority.length ? end + 1 : end};
    }
    return (struct slice){authority.data, slice_find(authority, ':')};
}

void admin_access_init(struct admin_access *access, const struct addr_endpoint *listen)
{
    char text[128];
    struct slice host;

    memset(access, 0, sizeof(*access));
    access->is_unix = listen->addr.family == ADDR_UNIX;
    host = host_of((struct slice){text, addr_endpoint_format(listen, text)});
    memcpy(access->listen_host, host.data, host.length);
    make_session(access->session);
}

void admin_access_clear(struct admin_access *access)
{
    if (access->token != NULL) {
        mem_wipe(access->token, strlen(access->token));
        mem_free(access->token);
    }
    access->token = NULL;
    mem_wipe(access->session, sizeof(access->session));
}

bool admin_access_set_token(struct admin_access *access, const char *token)
{
    const char *former = access->token != NULL ? access->token : "";

    if (strcmp(former, token != NULL ? token : "") == 0)
        return false; /* who is signed in stays so */
    admin_access_clear(access);
    if (token != NULL && token[0] != '\0')
        access->token = mem_copy_string(token);
    make_session(access->session);
    return true;
}

/* Takes as long whatever the bytes are; only the length of what was given shows. */
static bool equal_in_constant_time(struct slice given, const char *secret)
{
    size_t length = strlen(secret);
    unsigned difference = given.length == length ? 0 : 1;

    for (size_t i = 0; i < given.length; i++)
        difference |=
            (unsigned char)given.data[i] ^ (unsigned char)secret[length > 0 ? i % length : 0];
    return difference == 0;
}

bool admin_access_is_token(const struct admin_access *access, struct slice given)
{
    return access->token != NULL && equal_in_constant_time(given, access->token);
}

static bool is_address(struct slice host)
{
    struct addr ignored;

    if (host.length >= 2 && host.data[0] == '[')
        host = (struct slice){host.data + 1, host.length - 2};
    return addr_parse(host, &ignored);
}

/* RFC 6454: "http://host:port"; "null" and other schemes are nobody of ours. */
static bool is_same_origin(struct slice origin, struct slice host)
{
    static const char scheme[] = "http://";
    size_t length = sizeof(scheme) - 1;

    if (!slice_starts_with(origin, (struct slice){scheme, length}))
        return false;
    return slice_equal_ignore_case((struct slice){origin.data + length, origin.length - length},
                                   host);
}

bool admin_access_is_own_host(const struct admin_access *access,
                              const struct http_request_head *request)
{
    struct slice host = host_of(request->host);
    struct slice origin = http_head_find(&request->head, HTTP_FIELD_ORIGIN);
    bool changes_something =
        !request->is_head_method && !slice_equal(request->method, SLICE("GET"));

    /* Through a proxy or a tunnel the Origin names that; a browser that got in there has the token.
     */
    if (origin.length > 0 && changes_something && access->token == NULL &&
        !is_same_origin(origin, request->host))
        return false;
    if (access->is_unix)
        return true;
    return slice_equal_ignore_case(host, slice_of(access->listen_host)) ||
           slice_equal_ignore_case(host, SLICE("localhost")) || is_address(host);
}

static bool has_session(const struct admin_access *access, const struct http_request_head *request)
{
    const struct http_field *field = http_head_find_name(&request->head, SLICE("Cookie"));
    struct slice rest = field != NULL ? field->value : (struct slice){NULL, 0};
    struct slice pair;
    bool is_known = false;

    while (slice_cut(&rest, ';', &pair)) {
        struct slice trimmed = slice_trim(pair);
        struct slice name = SLICE(COOKIE_NAME "=");

        if (slice_starts_with(trimmed, name) &&
            equal_in_constant_time(
                (struct slice){trimmed.data + name.length, trimmed.length - name.length},
                access->session))
            is_known = true;
    }
    return is_known;
}

bool admin_access_is_known(const struct admin_access *access,
                           const struct http_request_head *request)
{
    struct slice value = http_head_find(&request->head, HTTP_FIELD_AUTHORIZATION);

    if (access->token == NULL)
        return true;
    if (value.length > 7 &&
        slice_equal_ignore_case((struct slice){value.data, 7}, SLICE("Bearer ")) &&
        admin_access_is_token(access, slice_trim((struct slice){value.data + 7, value.length - 7})))
        return true;
    return has_session(access, request);
}
