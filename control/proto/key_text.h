/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Keys as the control protocol writes them: a prefix that says what they are, then 64 lower-case
 * hexadecimal digits. Protocol library.
 */
#include <stdbool.h>
#include <stddef.h>

#include "secret.h"

#define KEY_TEXT_MACHINE "mkey:"
#define KEY_TEXT_NODE "nodekey:"
#define KEY_TEXT_DISCO "discokey:"
#define KEY_TEXT_LOCK "nlpub:"

#define KEY_TEXT_SIZE 80 /* of the longest, with its NUL */

/* False when prefix, length or a digit is wrong; digits of either case are taken. The zero key is
 * a key: secret_is_zero tells. */
bool key_text_parse(struct public_key *key, const char *prefix, const char *text, size_t len);
const char *key_text_format(
	char buf[static KEY_TEXT_SIZE], const char *prefix, const struct public_key *key);
