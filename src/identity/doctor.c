/* SPDX-License-Identifier: MIT */
/*
 * Wrong trust shows in the traffic: fields that are not believed, chains that
 * are too short, everybody in one bucket. Two of these are seen in a single
 * request; the third needs a sample: a majority vote over the addresses that
 * are charged (Boyer and Moore) and a bitmap of hashed field values, which is
 * filled in the proportion of different ones. Called by the proxy for each
 * request; belongs to one thread.
 */
#include "kamiyo/identity/doctor.h"

#include <string.h>

#include "kamiyo/base/hash.h"
#include "kamiyo/base/mem.h"

#define SAMPLE_REQUESTS  512
#define LOOK_AT_ONE_IN   8
#define VALUE_BITS       256
#define WARN_INTERVAL_MS (60 * 60 * 1000)
/* Health checks of one's own come without a field: so many of them and it is no longer only those.
 */
#define MIN_MISSING_FIELDS 100

struct doctor {
    struct doctor_gates *gates;
    struct hash_key key;
    unsigned skipped;
    size_t missing_fields;
    struct doctor_sample sample;
    struct addr candidate; /* of the majority vote */
    uint64_t values[VALUE_BITS / 64];
};

static const enum http_field_id field_ids[] = {HTTP_FIELD_X_FORWARDED_FOR, HTTP_FIELD_FORWARDED,
                                               HTTP_FIELD_CF_CONNECTING_IP,
                                               HTTP_FIELD_TRUE_CLIENT_IP, HTTP_FIELD_X_REAL_IP};

bool doctor_is_one_address(const struct doctor_sample *sample)
{
    /* Four fifths outweigh the last by three fifths. */
    return sample->request_count >= DOCTOR_MIN_REQUESTS &&
           sample->majority * 5 >= sample->request_count * 3 &&
           sample->field_values >= DOCTOR_MIN_FIELD_VALUES;
}

static bool is_private(const struct addr *addr)
{
    const uint8_t *bytes = addr->bytes;

    if (addr_is_loopback(addr))
        return true;
    if (addr->family == ADDR_IPV4)
        return bytes[0] == 10 || (bytes[0] == 172 && (bytes[1] & 0xf0) == 16) ||
               (bytes[0] == 192 && bytes[1] == 168);
    return addr->family == ADDR_IPV6 && (bytes[0] & 0xfe) == 0xfc;
}

bool doctor_is_proxy_like(const struct client_ip_options *options, const struct addr *peer)
{
    return is_private(peer) || (options->trusted_count == 0 && !options->trust_unix);
}

struct doctor *doctor_create(struct doctor_gates *gates)
{
    struct doctor *doctor = mem_alloc_zero(sizeof(*doctor));

    doctor->gates = gates;
    hash_key_generate(&doctor->key);
    return doctor;
}

void doctor_destroy(struct doctor **handle)
{
    mem_free(*handle);
    *handle = NULL;
}

static bool may_warn(struct doctor *doctor, enum doctor_finding finding, int64_t now_ms)
{
    unsigned long left_out;

    return log_gate_open(&doctor->gates->gate[finding], now_ms, WARN_INTERVAL_MS, &left_out);
}

/* The first of the forwarding fields that is there, or NULL. */
static const struct http_field *find_field(const struct http_head *head)
{
    for (size_t i = 0; i < COUNT_OF(field_ids); i++)
        if (head->first[field_ids[i]] >= 0)
            return &head->fields[head->first[field_ids[i]]];
    return NULL;
}

static void warn_untrusted(struct doctor *doctor,
                           const struct addr *peer,
                           const struct http_head *head,
                           int64_t now_ms)
{
    const struct http_field *field = find_field(head);
    char address[ADDR_TEXT_SIZE];

    if (field == NULL || !may_warn(doctor, DOCTOR_UNTRUSTED_FIELDS, now_ms))
        return;
    addr_format(peer, address);
    log_warning("%.*s from %s is not believed, so that all of its clients share one bucket: if it "
                "is a proxy of yours, add \"%s\" to client_ip.trusted_proxies (TRUSTED_PROXIES)",
                SLICE_PRINT(field->name), address,
                peer->family == ADDR_UNIX ? "loopback" : address);
}

static void warn_short(struct doctor *doctor,
                       const struct client_ip_options *options,
                       const struct addr *peer,
                       int64_t now_ms)
{
    char address[ADDR_TEXT_SIZE];

    if (!may_warn(doctor, DOCTOR_SHORT_CHAINS, now_ms))
        return;
    addr_format(peer, address);
    log_warning("The chain of addresses from %s is shorter than client_ip.hops (%d), so that the "
                "proxy itself is charged: set hops (TRUSTED_HOPS) to the number of proxies that "
                "add an entry, or to 0 to walk past trusted_proxies",
                address, options->hops);
}

static void warn_one_address(struct doctor *doctor, int64_t now_ms)
{
    char address[ADDR_TEXT_SIZE];

    if (!may_warn(doctor, DOCTOR_ONE_ADDRESS, now_ms))
        return;
    addr_format(&doctor->candidate, address);
    log_warning("Most requests are charged to %s while their forwarding fields show many clients: "
                "add it to client_ip.trusted_proxies, or set client_ip.header and hops to where "
                "your proxies put the client's address",
                address);
}

static void vote(struct doctor *doctor, const struct addr *addr)
{
    if (doctor->sample.majority == 0) {
        doctor->candidate = *addr;
        doctor->sample.majority = 1;
    } else if (addr_equal(&doctor->candidate, addr)) {
        doctor->sample.majority++;
    } else {
        doctor->sample.majority--;
    }
}

static void note_value(struct doctor *doctor, struct slice value)
{
    uint64_t bit = hash_bytes(&doctor->key, value.data, value.length) % VALUE_BITS;
    uint64_t mask = (uint64_t)1 << bit % 64;

    if ((doctor->values[bit / 64] & mask) != 0)
        return;
    doctor->values[bit / 64] |= mask;
    doctor->sample.field_values++;
}

static void take_sample(struct doctor *doctor,
                        const struct http_head *head,
                        const struct client_ip *client,
                        int64_t now_ms)
{
    const struct http_field *field = find_field(head);

    vote(doctor, &client->addr);
    if (field != NULL)
        note_value(doctor, field->value);
    if (++doctor->sample.request_count < SAMPLE_REQUESTS)
        return;
    if (doctor_is_one_address(&doctor->sample))
        warn_one_address(doctor, now_ms);
    memset(&doctor->sample, 0, sizeof(doctor->sample));
    memset(doctor->values, 0, sizeof(doctor->values));
}

void doctor_observe(struct doctor *doctor,
                    const struct client_ip_options *options,
                    const struct addr *peer,
                    const struct http_head *head,
                    const struct client_ip *client,
                    int64_t now_ms)
{
    if (client->has_untrusted_fields && doctor_is_proxy_like(options, peer))
        warn_untrusted(doctor, peer, head, now_ms);
    if (client->is_chain_short &&
        (client_ip_has_fields(head) || ++doctor->missing_fields >= MIN_MISSING_FIELDS))
        warn_short(doctor, options, peer, now_ms);
    if (++doctor->skipped < LOOK_AT_ONE_IN)
        return;
    doctor->skipped = 0;
    take_sample(doctor, head, client, now_ms);
}
