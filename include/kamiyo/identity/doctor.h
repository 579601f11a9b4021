/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kamiyo/base/attributes.h"
#include "kamiyo/base/log.h"
#include "kamiyo/http/message.h"
#include "kamiyo/identity/client_ip.h"
#include "kamiyo/identity/identity_options.h"
#include "kamiyo/net/addr.h"

/*
 * Notices at run time that client_ip is not set as the traffic needs it, and
 * says once in a while what to set. The judgement is pure; one doctor a worker
 * gathers what it judges, and the gates, one set a process, keep the workers
 * from saying the same thing.
 */
enum doctor_finding {
    DOCTOR_UNTRUSTED_FIELDS, /* a peer that looks like a proxy of one's own is not trusted */
    DOCTOR_SHORT_CHAINS,     /* fewer entries than hops */
    DOCTOR_ONE_ADDRESS,      /* most requests fall on one address, while the fields show many */
    DOCTOR_FINDING_COUNT,
};

/* Zero-initialise; shared by all doctors of the process, from any thread. */
struct doctor_gates {
    struct log_gate gate[DOCTOR_FINDING_COUNT];
};

/* What some hundred requests looked like. */
struct doctor_sample {
    size_t request_count;
    size_t majority;     /* by how many requests one address outweighs all others together */
    size_t field_values; /* different values of the forwarding fields, an estimate */
};

#define DOCTOR_MIN_REQUESTS     64
#define DOCTOR_MIN_FIELD_VALUES 16

/* DOCTOR_ONE_ADDRESS or not: enough requests, one address with four fifths of them, many field
 * values. Pure. */
bool doctor_is_one_address(const struct doctor_sample *sample);
/*
 * Whether an untrusted peer's fields are worth a word: they are a proxy's when the peer's address
 * is private, loopback or unix, and might be when nobody is trusted at all; else somebody is
 * forging, which is what trust is there for. Pure.
 */
bool doctor_is_proxy_like(const struct client_ip_options *options, const struct addr *peer);

struct doctor;

/* `gates` is borrowed and must outlive it. */
struct doctor *doctor_create(struct doctor_gates *gates) MUST_CHECK;
void doctor_destroy(struct doctor **doctor);
/* A request and the address that was found for it. Cheap: one in eight is looked at closely. */
void doctor_observe(struct doctor *doctor,
                    const struct client_ip_options *options,
                    const struct addr *peer,
                    const struct http_head *head,
                    const struct client_ip *client,
                    int64_t now_ms);
