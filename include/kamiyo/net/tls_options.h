/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

/* How a TLS client verifies and names itself. Strings are owned by whoever holds the options; NULL
 * or "" = not set. */
struct tls_options {
    char *ca_file;     /* PEM; default: the system's */
    char *cert_file;   /* PEM chain to present */
    char *key_file;    /* its key */
    char *server_name; /* sent and verified in place of the host */
    bool verify;       /* certificate and name */
};
