/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * JSON that clients take as others said it. A client that finds one value of another kind than it
 * expects takes nothing of the whole map, and goes by names in any case: so only what is known by
 * name and kind gets through. Protocol library.
 */
#include <jansson.h>
#include <tailplane/err.h>

enum shape_kind {
	SHAPE_STRING,
	SHAPE_BOOL,
	SHAPE_STRINGS,
	SHAPE_INT,
	SHAPE_PORT,
	SHAPE_PORT_OR_OFF, /* -1: off */
	SHAPE_NUMBER,
	SHAPE_OBJECT,
	SHAPE_OBJECTS,
};

struct shape {
	const char *name; /* NULL ends a table */
	enum shape_kind kind;
	const struct shape *members; /* of an object, or of each of a list of them */
};

/* A new object of those members of `said` that are in the table and of its kind; of a list those
 * items. What is of another kind, unless null, is the reason in `err` (may be NULL), by its name:
 * the first of them. */
json_t *shaped(const json_t *said, const struct shape *shape, struct err *err);
