/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Structs whose content is kept in the store, described by a table of their members: loaded,
 * inserted, copied, compared and updated (only what changed) by the same code. Control loop.
 */
#include <stddef.h>
#include <stdint.h>

#include <tailplane/err.h>
#include <tailplane/store.h>

enum field_kind {
	FIELD_INT,  /* int64_t; nullable: 0 is NULL */
	FIELD_BOOL, /* bool */
	FIELD_TEXT, /* char *, heap; NULL only where nullable */
	FIELD_KEY,  /* 32 bytes; nullable: zero is NULL */
	FIELD_ADDR, /* struct net_addr, as text; nullable: unset is NULL */
};

struct field {
	const char *name; /* of the column */
	enum field_kind kind;
	unsigned flags; /* enum store_column_flag */
	size_t offset;
	unsigned since; /* as in struct store_column */
	const char *initial;
};

/* The first field is the key: an int64_t at offset 0. At most 64 fields. */
struct record_type {
	const char *table;
	const struct field *fields;
	unsigned n;
	size_t size;
};

/* For struct store_table; heap, NULL without memory. */
struct store_column *record_columns(const struct record_type *type);

int record_load(const struct record_type *type, void *record, const struct store_value *values,
	struct err *err);
void record_insert(struct store_txn *txn, const struct record_type *type, const void *record);
/* Writes the columns of the set. */
void record_update(
	struct store_txn *txn, const struct record_type *type, const void *record, uint64_t fields);
/* The fields that differ, as bits in order of the table. */
uint64_t record_differ(const struct record_type *type, const void *a, const void *b);
int record_copy(const struct record_type *type, void *to, const void *from); /* 0, -ENOMEM */
void record_fini(const struct record_type *type, void *record);
/* Sets a text member; the old one is freed. NULL stays NULL. 0 or -ENOMEM. */
int text_set(char **member, const char *text);
