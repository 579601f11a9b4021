/* SPDX-License-Identifier: MIT */
/*
 * SHA-256 of keys, tokens and long ids. A digest that fails has no sensible
 * answer (whose key is this?), and OpenSSL's own fails for want of memory only,
 * so the process ends as it does when mem finds none.
 */
#include "kamiyo/identity/digest.h"

#include <stdlib.h>

#include <openssl/evp.h>

#include "kamiyo/base/log.h"

static void require(int is_ok)
{
    if (is_ok == 1)
        return;
    log_error("OpenSSL cannot compute SHA-256");
    abort();
}

void digest_init(struct digest *digest)
{
    digest->algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    digest->context = EVP_MD_CTX_new();
    require(digest->algorithm != NULL && digest->context != NULL);
}

void digest_clear(struct digest *digest)
{
    EVP_MD_CTX_free(digest->context);
    EVP_MD_free(digest->algorithm);
    *digest = (struct digest){.context = NULL};
}

void digest_sha256(struct digest *digest, struct slice bytes, uint8_t out[DIGEST_BYTES])
{
    require(EVP_DigestInit_ex2(digest->context, digest->algorithm, NULL));
    require(EVP_DigestUpdate(digest->context, bytes.data, bytes.length));
    require(EVP_DigestFinal_ex(digest->context, out, NULL));
}
