/* SPDX-License-Identifier: MIT */
/*
 * The live page, embedded at build, and the way in for a browser.
 */
#include "admin/admin_internal.h"
#include "page_html.h"

/* The page, or with ?token= the way in for a browser: a cookie, and the token out of the address
 * bar. */
void admin_page_serve(struct admin_connection *connection)
{
    const struct admin_access *access = &connection->admin->access;
    struct slice given = admin_query_find(&connection->request, SLICE("token"));
    char token[512];
    char memory[256];
    struct text fields;
    struct admin_answer answer = {.status = 200, .content_type = SLICE("text/html; charset=utf-8")};
    size_t length;

    text_init(&fields, memory, sizeof(memory));
    if (given.data != NULL && admin_query_decode(given, token, sizeof(token), &length) &&
        admin_access_is_token(access, (struct slice){token, length})) {
        answer.status = 303;
        text_append(&fields, SLICE("Location: /\r\nSet-Cookie: kamiyo_admin="));
        text_append(&fields, slice_of(access->session));
        text_append(&fields, SLICE("; Path=/; HttpOnly; SameSite=Strict\r\n"));
    } else if (!admin_access_is_known(access, &connection->request)) {
        admin_connection_refuse(connection, 401,
                                "The admin token is needed: as Bearer, or /?token= in a browser.");
        return;
    } else {
        text_append(&fields,
                    SLICE("Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; "
                          "script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; "
                          "form-action 'none'; frame-ancestors 'none'\r\n"
                          "Referrer-Policy: no-referrer\r\n"));
        answer.body = (struct slice){page_html, page_html_size};
    }
    answer.fields = text_slice(&fields);
    admin_connection_answer(connection, &answer);
}
