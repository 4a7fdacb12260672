/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Bounded reading of JSON that came over the network. Protocol library. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <tailplane/err.h>

#include "secret.h"

#define JSON_IN_MAX (1024 * 1024)

/* The object in `body`, or NULL with the reason. U+0000 in a string is refused. */
json_t *json_in_object(const void *body, size_t len, struct err *err);

/* Where the value of a member of the outermost object lies, if it is an object. Does not look
 * whether all is well-formed: false also where that shows. */
bool json_in_span(const char *body, size_t len, const char *name, size_t *at, size_t *span);

/* A member of an object: what is absent or null gives 0, false, "" or the zero key and is fine;
 * another type (or a malformed key) is an error: -EINVAL with the member's name. */
int json_in_int(json_t *object, const char *name, int64_t *value, struct err *err);
int json_in_bool(json_t *object, const char *name, bool *value, struct err *err);
int json_in_string(json_t *object, const char *name, const char **value, struct err *err);
int json_in_key(json_t *object, const char *name, const char *prefix, struct public_key *key,
	struct err *err);
/* RFC 3339; absent or the year 1 is TIME_UNSET. */
int json_in_time(json_t *object, const char *name, int64_t *ns, struct err *err);
/* Canonical text: no spaces, keys sorted. Heap; NULL without memory. */
char *json_in_text(const json_t *value);
