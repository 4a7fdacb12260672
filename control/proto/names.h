/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Host names into DNS labels, and tags. Protocol library. */
#include <stdbool.h>
#include <stddef.h>

#define LABEL_SIZE 64 /* 63 octets and a NUL */

/*
 * The label that a machine of this host name asks for: usual local suffixes go, what cannot be in
 * a label is replaced or dropped, and what is left empty is "node".
 */
void label_from_hostname(char label[static LABEL_SIZE], const char *hostname);
/* The label with "-N" behind it, cut so that it stays one. */
void label_with_number(char out[static LABEL_SIZE], const char *label, unsigned n);
/* What a person may set: 1 to 63 of a-z, 0-9 and '-', no '-' at the ends. */
bool label_valid(const char *label);
/* "tag:" + letter + letters, digits, '-'. */
bool tag_valid(const char *tag);

/* Is it one that clients can look up? They compare letter by letter, and leave out what is no name
 * without a word: lower case, no dot at the end. */
bool domain_name_valid(const char *name);
