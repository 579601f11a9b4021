/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * SipHash-1-3 (Aumasson, Bernstein), keyed: for every table whose keys a peer
 * can choose, so that nobody can aim collisions at it. Not a message digest.
 */
struct hash_key {
    uint64_t k0;
    uint64_t k1;
};

/* A random key from the kernel; ends the process if there is no randomness. */
void hash_key_generate(struct hash_key *key);
uint64_t hash_bytes(const struct hash_key *key, const void *data, size_t length);
/* Random bytes from the kernel, for seeds, identifiers and cookies. */
void hash_random(void *out, size_t length);
