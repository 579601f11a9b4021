/* SPDX-License-Identifier: MIT */
/*
 * The live page, embedded at build, and the way in for a browser. Its style and
 * its script are in it and carry a nonce that each answer makes anew, so that
 * nothing else that might come to stand in it would run.
 */
#include <string.h>

#include "kamiyo/base/hash.h"
#include "kamiyo/base/mem.h"

#include "admin/admin_internal.h"
#include "page_html.h"

/* Where the page has this, it gets the nonce. */
#define NONCE_BYTES 32
#define NONCE_PLACE "nonce=\"00000000000000000000000000000000\""

static void make_nonce(char nonce[NONCE_BYTES])
{
    unsigned char random[NONCE_BYTES / 2];
    struct text text;

    hash_random(random, sizeof(random));
    text_init(&text, nonce, NONCE_BYTES);
    text_append_hex(&text, random, sizeof(random));
}

static void put_nonce(char *page, size_t length, const char nonce[NONCE_BYTES])
{
    static const size_t place = sizeof(NONCE_PLACE) - 1;
    char *at = page;

    while ((at = memmem(at, length - (size_t)(at - page), NONCE_PLACE, place)) != NULL) {
        memcpy(at + sizeof("nonce=\"") - 1, nonce, NONCE_BYTES);
        at += place;
    }
}

static void answer_page(struct admin_connection *connection)
{
    char nonce[NONCE_BYTES];
    char memory[512];
    struct text fields;
    char *page = mem_copy_bytes(page_html, page_html_size);
    struct admin_answer answer = {.status = 200,
                                  .content_type = SLICE("text/html; charset=utf-8"),
                                  .body = {page, page_html_size}};

    make_nonce(nonce);
    put_nonce(page, page_html_size, nonce);
    text_init(&fields, memory, sizeof(memory));
    text_append(&fields, SLICE("Content-Security-Policy: default-src 'none'; style-src 'nonce-"));
    text_append(&fields, (struct slice){nonce, NONCE_BYTES});
    text_append(&fields, SLICE("'; script-src 'nonce-"));
    text_append(&fields, (struct slice){nonce, NONCE_BYTES});
    text_append(&fields, SLICE("'; connect-src 'self'; img-src data:; base-uri 'none'; "
                               "form-action 'none'; frame-ancestors 'none'\r\n"
                               "Referrer-Policy: no-referrer\r\n"));
    answer.fields = text_slice(&fields);
    admin_connection_answer(connection, &answer);
    mem_free(page);
}

/* A cookie, and the token out of the address bar. */
static void sign_in(struct admin_connection *connection)
{
    char memory[256];
    struct text fields;
    struct admin_answer answer = {.status = 303, .content_type = SLICE("text/html; charset=utf-8")};

    text_init(&fields, memory, sizeof(memory));
    text_append(&fields, SLICE("Location: /\r\nSet-Cookie: kamiyo_admin="));
    text_append(&fields, slice_of(connection->admin->access.session));
    text_append(&fields, SLICE("; Path=/; HttpOnly; SameSite=Strict\r\n"));
    answer.fields = text_slice(&fields);
    admin_connection_answer(connection, &answer);
}

void admin_page_serve(struct admin_connection *connection)
{
    const struct admin_access *access = &connection->admin->access;
    struct slice given = admin_query_find(&connection->request, SLICE("token"));
    char token[512];
    size_t length;

    if (given.data != NULL && admin_query_decode(given, token, sizeof(token), &length) &&
        admin_access_is_token(access, (struct slice){token, length}))
        sign_in(connection);
    else if (!admin_access_is_known(access, &connection->request))
        admin_connection_refuse(connection, 401,
                                "The admin token is needed: as Bearer, or /?token= in a browser.");
    else
        answer_page(connection);
}
