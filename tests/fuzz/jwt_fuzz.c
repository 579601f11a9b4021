/* SPDX-License-Identifier: MIT */
/*
 * Tokens from a stranger and tokens from the issuer. The input is taken as a token as it stands,
 * which must not verify; then its two halves (cut at the first NUL) as header and payload, signed
 * with the secret, so that the JSON behind a good signature is reached. What verifies has a user,
 * and names an algorithm that is listed.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "kamiyo/identity/base64url.h"
#include "kamiyo/identity/jwt.h"

#define SECRET "fuzz-secret-fuzz-secret-fuzz-secret"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static struct jwt_verifier *make_verifier(void)
{
    static char secret[] = SECRET, sub[] = "sub", tier[] = "tier", none[] = "";
    char *secrets[] = {secret};
    struct jwt_options options = {.secrets = secrets,
                                  .secret_count = 1,
                                  .algorithms = JWT_HS256 | JWT_RS256 | JWT_ES256 | JWT_EDDSA,
                                  .user_claim = sub,
                                  .tier_claim = tier,
                                  .issuer = none,
                                  .audience = none,
                                  .leeway_ms = 30000};
    struct error error;
    struct jwt_keys *keys = jwt_keys_create(&options, &error);

    check(keys != NULL);
    return jwt_verifier_create(keys);
}

static size_t append_encoded(char *out, const void *bytes, size_t length)
{
    size_t written = (size_t)EVP_EncodeBlock((unsigned char *)out, bytes, (int)length);

    for (size_t i = 0; i < written; i++) {
        if (out[i] == '+')
            out[i] = '-';
        else if (out[i] == '/')
            out[i] = '_';
    }
    while (written > 0 && out[written - 1] == '=')
        written--;
    return written;
}

static enum jwt_outcome judge_signed(struct jwt_verifier *verifier,
                                     const uint8_t *data,
                                     size_t size,
                                     struct jwt_claims *claims)
{
    const uint8_t *cut = size > 0 ? memchr(data, 0, size) : NULL;
    size_t header = cut != NULL ? (size_t)(cut - data) : 0,
           payload = cut != NULL ? size - header - 1 : size;
    char *token = malloc(size * 4 / 3 + 256);
    unsigned char signature[EVP_MAX_MD_SIZE];
    unsigned signature_length = 0;
    enum jwt_outcome outcome;
    size_t length;

    check(token != NULL);
    if (header == 0)
        length = append_encoded(token, "{\"alg\":\"HS256\"}", 15);
    else
        length = append_encoded(token, data, header);
    token[length++] = '.';
    length += append_encoded(token + length, data + size - payload, payload);
    check(HMAC(EVP_sha256(), SECRET, sizeof(SECRET) - 1, (unsigned char *)token, length, signature,
               &signature_length) != NULL);
    token[length++] = '.';
    length += append_encoded(token + length, signature, signature_length);
    check(length > JWT_MAX_BYTES || header + payload == 0 || payload == 0 ||
          jwt_has_form((struct slice){token, length}));
    outcome = jwt_verify(verifier, (struct slice){token, length}, 1700000000000, claims);
    free(token);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct jwt_verifier *verifier;
    struct jwt_claims claims;
    struct slice text = {(const char *)data, size};

    if (verifier == NULL)
        verifier = make_verifier();
    check(jwt_verify(verifier, text, 1700000000000, &claims) != JWT_VALID);
    if (judge_signed(verifier, data, size, &claims) == JWT_VALID) {
        check(claims.owner.outcome == KEY_SOURCE_FOUND && claims.owner.user_length > 0);
        check(claims.owner.user_length <= KEY_SOURCE_MAX_USER_BYTES);
        check(claims.owner.tier_length <= KEY_SOURCE_MAX_TIER_BYTES);
        check(claims.expires_ms > 1700000000000);
    }
    return 0;
}
