/* SPDX-License-Identifier: MIT */
/*
 * From a token's text to its claims, in the order that gives a forger the least
 * to work on: form, header, algorithm (only a listed one), signature, and only
 * then the payload. JSON is bounded in size by the token and in depth before
 * the parser sees it; a repeated member is refused, since two readers could
 * take different ones.
 */
#include "kamiyo/identity/jwt.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "kamiyo/base/mem.h"
#include "kamiyo/identity/base64url.h"

#include "identity/identity_internal.h"

#define MAX_DEPTH         16
#define MAX_DECODED_BYTES (JWT_MAX_BYTES / 4 * 3)
/* Seconds beyond which a NumericDate is no date (year 142,000), well within int64 milliseconds. */
#define MAX_SECONDS 4398046511104.0

struct jwt_verifier {
    const struct jwt_keys *keys;
    struct jwt_signature *signature;
    uint8_t decoded[MAX_DECODED_BYTES]; /* a part of the token that is being read */
};

static const struct {
    enum jwt_algorithm algorithm;
    const char *name;
} algorithms[] = {
    {JWT_HS256, "HS256"}, {JWT_HS384, "HS384"}, {JWT_HS512, "HS512"},
    {JWT_RS256, "RS256"}, {JWT_ES256, "ES256"}, {JWT_EDDSA, "EdDSA"},
};

const char *jwt_outcome_name(enum jwt_outcome outcome)
{
    static const char *const names[] = {
        [JWT_VALID] = "valid",
        [JWT_MALFORMED] = "malformed",
        [JWT_ALGORITHM] = "algorithm not allowed",
        [JWT_SIGNATURE] = "wrong signature",
        [JWT_EXPIRED] = "expired",
        [JWT_NOT_YET] = "not valid yet",
        [JWT_ISSUER] = "wrong issuer",
        [JWT_AUDIENCE] = "wrong audience",
        [JWT_NO_USER] = "no user claim",
    };

    return names[outcome];
}

struct jwt_verifier *jwt_verifier_create(const struct jwt_keys *keys)
{
    struct jwt_verifier *verifier = mem_alloc_zero(sizeof(*verifier));

    verifier->keys = keys;
    verifier->signature = jwt_signature_create(keys);
    return verifier;
}

void jwt_verifier_destroy(struct jwt_verifier **handle)
{
    struct jwt_verifier *verifier = *handle;

    if (verifier == NULL)
        return;
    *handle = NULL;
    jwt_signature_destroy(&verifier->signature);
    mem_free(verifier);
}

/* header "." payload "." signature, and the first two with their dot between them, which is what is
 * signed. */
struct parts {
    struct slice header, payload, signature, signed_text;
};

static bool split(struct slice token, struct parts *parts)
{
    struct slice rest = token;

    if (!slice_cut(&rest, '.', &parts->header) || !slice_cut(&rest, '.', &parts->payload) ||
        !slice_cut(&rest, '.', &parts->signature) || rest.data != NULL)
        return false;
    parts->signed_text =
        (struct slice){token.data, parts->header.length + 1 + parts->payload.length};
    return parts->header.length > 0 && parts->payload.length > 0;
}

bool jwt_has_form(struct slice text)
{
    struct parts parts;

    return split(text, &parts) && base64url_is(parts.header) && base64url_is(parts.payload) &&
           base64url_is(parts.signature);
}

static bool is_shallow(const char *text, size_t length)
{
    bool is_string = false;
    size_t depth = 0;

    for (size_t i = 0; i < length; i++) {
        if (is_string) {
            if (text[i] == '\\')
                i++;
            else if (text[i] == '"')
                is_string = false;
        } else if (text[i] == '"') {
            is_string = true;
        } else if (text[i] == '{' || text[i] == '[') {
            if (++depth > MAX_DEPTH)
                return false;
        } else if ((text[i] == '}' || text[i] == ']') && depth > 0) {
            depth--;
        }
    }
    return true;
}

/* A part as a JSON object, NULL if it is none. The caller gives the reference back. */
static json_t *parse_object(struct jwt_verifier *verifier, struct slice part)
{
    const char *text = (const char *)verifier->decoded;
    json_t *object;
    size_t length;

    if (!base64url_decode(part, verifier->decoded, sizeof(verifier->decoded), &length) ||
        !is_shallow(text, length))
        return NULL;
    object = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    if (object != NULL && !json_is_object(object)) {
        json_decref(object);
        object = NULL;
    }
    return object;
}

static enum jwt_outcome
read_header(struct jwt_verifier *verifier, struct slice part, enum jwt_algorithm *algorithm)
{
    json_t *header = parse_object(verifier, part);
    enum jwt_outcome outcome = JWT_ALGORITHM;
    const char *name;

    if (header == NULL)
        return JWT_MALFORMED;
    name = json_string_value(json_object_get(header, "alg"));
    if (name == NULL || json_object_get(header, "crit") != NULL)
        outcome = JWT_MALFORMED; /* RFC 7515 4.1.11: an extension that is not understood */
    for (size_t i = 0; outcome == JWT_ALGORITHM && i < COUNT_OF(algorithms); i++)
        if (strcmp(name, algorithms[i].name) == 0 &&
            (verifier->keys->algorithms & algorithms[i].algorithm) != 0) {
            *algorithm = algorithms[i].algorithm;
            outcome = JWT_VALID;
        }
    json_decref(header);
    return outcome;
}

/* RFC 7519 2, NumericDate: seconds, perhaps with a fraction. True with *ms untouched when it is
 * absent. */
static bool read_date(const json_t *payload, const char *claim, int64_t *ms)
{
    const json_t *date = json_object_get(payload, claim);
    double seconds;

    if (date == NULL)
        return true;
    if (!json_is_number(date))
        return false;
    seconds = json_number_value(date);
    if (!isfinite(seconds) || fabs(seconds) > MAX_SECONDS)
        return false;
    *ms = (int64_t)(seconds * 1000);
    return true;
}

static bool has_audience(const json_t *payload, const char *audience)
{
    const json_t *claim = json_object_get(payload, "aud");
    const char *one = json_string_value(claim);

    if (one != NULL)
        return strcmp(one, audience) == 0;
    for (size_t i = 0; i < json_array_size(claim); i++) {
        one = json_string_value(json_array_get(claim, i));
        if (one != NULL && strcmp(one, audience) == 0)
            return true;
    }
    return false;
}

static enum jwt_outcome
check_times(const struct jwt_keys *keys, const json_t *payload, int64_t now_ms, int64_t *expires_ms)
{
    int64_t expires = INT64_MAX, begins = INT64_MIN;

    if (!read_date(payload, "exp", &expires) || !read_date(payload, "nbf", &begins))
        return JWT_MALFORMED;
    if (expires != INT64_MAX)
        expires += keys->leeway_ms;
    if (now_ms >= expires)
        return JWT_EXPIRED;
    if (begins != INT64_MIN && now_ms < begins - keys->leeway_ms)
        return JWT_NOT_YET;
    *expires_ms = expires;
    return JWT_VALID;
}

/* A claim as text; an integer in decimal, as numeric user ids are. Empty when it is anything else.
 */
static struct slice claim_text(const json_t *payload, const char *claim, char number[24])
{
    const json_t *value = json_object_get(payload, claim);

    if (json_is_string(value))
        return (struct slice){json_string_value(value), json_string_length(value)};
    if (!json_is_integer(value))
        return (struct slice){NULL, 0};
    (void)snprintf(number, 24, "%lld", (long long)json_integer_value(value));
    return slice_of(number);
}

static enum jwt_outcome read_payload(struct jwt_verifier *verifier,
                                     struct slice part,
                                     int64_t now_ms,
                                     struct jwt_claims *claims)
{
    const struct jwt_keys *keys = verifier->keys;
    json_t *payload = parse_object(verifier, part);
    enum jwt_outcome outcome;
    const char *issuer;
    char number[24];
    struct slice user;

    if (payload == NULL)
        return JWT_MALFORMED;
    issuer = json_string_value(json_object_get(payload, "iss"));
    user = claim_text(payload, keys->user_claim, number);
    outcome = check_times(keys, payload, now_ms, &claims->expires_ms);
    if (outcome == JWT_VALID && keys->issuer[0] != '\0' &&
        (issuer == NULL || strcmp(issuer, keys->issuer) != 0))
        outcome = JWT_ISSUER;
    if (outcome == JWT_VALID && keys->audience[0] != '\0' && !has_audience(payload, keys->audience))
        outcome = JWT_AUDIENCE;
    if (outcome == JWT_VALID && user.length == 0)
        outcome = JWT_NO_USER;
    if (outcome == JWT_VALID)
        key_source_fill_record(
            &claims->owner, user,
            slice_of(json_string_value(json_object_get(payload, keys->tier_claim))));
    json_decref(payload);
    return outcome;
}

enum jwt_outcome jwt_verify(struct jwt_verifier *verifier,
                            struct slice token,
                            int64_t now_unix_ms,
                            struct jwt_claims *claims)
{
    enum jwt_algorithm algorithm = JWT_HS256;
    enum jwt_outcome outcome;
    struct jwt_claims found;
    struct parts parts;
    size_t length;

    if (token.length > JWT_MAX_BYTES || !split(token, &parts))
        return JWT_MALFORMED;
    outcome = read_header(verifier, parts.header, &algorithm);
    if (outcome != JWT_VALID)
        return outcome;
    if (!base64url_decode(parts.signature, verifier->decoded, sizeof(verifier->decoded), &length))
        return JWT_MALFORMED;
    if (!jwt_signature_verify(verifier->signature, algorithm, parts.signed_text, verifier->decoded,
                              length))
        return JWT_SIGNATURE;
    outcome = read_payload(verifier, parts.payload, now_unix_ms, &found);
    if (outcome == JWT_VALID)
        *claims = found;
    return outcome;
}
