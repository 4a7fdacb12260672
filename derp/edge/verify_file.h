/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* A file of node keys, one a line. Parsing is pure; the rest is the control loop's. */
#include <stdbool.h>
#include <stddef.h>

#include <tailplane/err.h>

#include "secret.h"

/* Sorted keys of the text, heap; each line is "nodekey:" and 64 hex digits, then blank or a
 * comment; NULL: `err` says which line is wrong. */
struct public_key *verify_keys_parse(const char *text, size_t len, size_t *n, struct err *err);

/* Reads `path` and watches it; `gone` on the loop for each key that a new version leaves out. A
 * version with an error is not taken, also when the same path is started again; none that is there
 * yet is an empty one. */
void verify_file_start(const char *path, void (*gone)(const struct public_key *key));
void verify_file_stop(void);
bool verify_file_has(const struct public_key *key);
