/* SPDX-License-Identifier: MIT */
/* Endpoints and upstreams as tables of texts that are taken and texts that are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/config/config_address.h"

#include "config/config_support.h"

struct endpoint_case {
    const char *text;
    const char *formatted; /* NULL = an error with `part` */
    const char *part;
};

static const struct endpoint_case endpoints[] = {
    {"0.0.0.0:80", "0.0.0.0:80", NULL},
    {"127.0.0.1:0", "127.0.0.1:0", NULL},
    {":80", "0.0.0.0:80", NULL},
    {"*:80", "0.0.0.0:80", NULL},
    {"localhost:80", "127.0.0.1:80", NULL},
    {"[::]:80", "[::]:80", NULL},
    {"[2001:db8::1]:65535", "[2001:db8::1]:65535", NULL},
    {"unix:/run/x.sock", "unix:/run/x.sock", NULL},
    {"80", NULL, "port is missing"},
    {"0.0.0.0", NULL, "port is missing"},
    {"[::1]", NULL, "port is missing"},
    {"0.0.0.0:", NULL, "port must be"},
    {"0.0.0.0:65536", NULL, "port must be"},
    {"0.0.0.0:-1", NULL, "port must be"},
    {"0.0.0.0:http", NULL, "port must be"},
    {"::1:80", NULL, "brackets"},
    {"example.com:80", NULL, "IP address"},
    {"1.2.3:80", NULL, "IP address"},
    {"unix:run/x", NULL, "absolute path"},
    {"unix:", NULL, "absolute path"},
    {"unix:/"
     "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012"
     "3456789012345678",
     NULL, "at most 107 bytes"},
};

static void test_endpoints(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(endpoints); i++) {
        struct addr_endpoint endpoint;
        struct error error;
        char formatted[128];

        if (endpoints[i].formatted == NULL) {
            assert_false(
                config_address_parse_endpoint(slice_of(endpoints[i].text), &endpoint, &error));
            assert_non_null(strstr(error.text, endpoints[i].part));
            continue;
        }
        assert_true(config_address_parse_endpoint(slice_of(endpoints[i].text), &endpoint, &error));
        (void)addr_endpoint_format(&endpoint, formatted);
        assert_string_equal(formatted, endpoints[i].formatted);
    }
}

struct upstream_case {
    const char *url;
    const char *part; /* of the error; NULL = fine */
};

static const struct upstream_case upstreams[] = {
    {"http://localhost:8000", NULL},
    {"http://localhost", NULL},
    {"http://localhost/", NULL},
    {"https://api.example.com:8443", NULL},
    {"http://[::1]:80", NULL},
    {"http://[::1]", NULL},
    {"kamiyo-api-x1y2:10000", NULL}, /* Render's hostport */
    {"10.0.0.1:80", NULL},
    {"[::1]:80", NULL},
    {"unix:/run/api.sock", NULL},
    {"localhost", "no port"},
    {"http://", "the host must be a name"},
    {"http://x:0", "port"},
    {"http://x:70000", "port"},
    {"http://x/path", "a path after the host"},
    {"http://u:p@x", "user or password"},
    {"u:p@x:1", "user or password"},
    {"ftp://x", "must be http://"},
    {"http://a b", "must be a name"},
    {"http://[::1", "the host must be"},
    {"unix:api.sock", "absolute path"},
};

static void test_upstreams(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(upstreams); i++) {
        struct config_support support;
        char text[200];

        (void)snprintf(text, sizeof(text), "upstream: {url: \"%s\"}\n", upstreams[i].url);
        config_support_init(&support, text);
        config_support_load(&support);
        if (upstreams[i].part == NULL) {
            config_support_show(&support);
            assert_non_null(support.config);
            assert_string_equal(support.config->upstream.urls[0], upstreams[i].url);
        } else if (config_support_find(&support, 1, 17, "upstream.url", upstreams[i].part) ==
                   NULL) {
            config_support_show(&support);
            fail_msg("%s", upstreams[i].url);
        }
        config_support_clear(&support);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_endpoints),
                                       cmocka_unit_test(test_upstreams)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
