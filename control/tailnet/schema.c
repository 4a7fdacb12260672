/* SPDX-License-Identifier: BSD-3-Clause */
/* The tables, and how rows become structs. Control loop. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>

#define UNIQUE STORE_UNIQUE
#define NULLABLE STORE_NULLABLE

#define F(struct_, name, kind, flags)                                       \
	{                                                                   \
#name, kind, flags, offsetof(struct struct_, name), 0, NULL \
	}
#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const struct field user_fields[] = {
	F(user_data, id, FIELD_INT, STORE_KEY),
	F(user_data, name, FIELD_TEXT, UNIQUE),
	F(user_data, display_name, FIELD_TEXT, 0),
	F(user_data, email, FIELD_TEXT, 0),
	F(user_data, picture, FIELD_TEXT, 0),
	F(user_data, provider, FIELD_TEXT, 0),
	F(user_data, provider_id, FIELD_TEXT, 0),
	F(user_data, created, FIELD_INT, 0),
};
const struct record_type users_type = {
	"users", user_fields, COUNT(user_fields), sizeof(struct user_data)};

static const struct field preauth_fields[] = {
	F(preauth_data, id, FIELD_INT, STORE_KEY),
	F(preauth_data, prefix, FIELD_TEXT, UNIQUE),
	F(preauth_data, hash, FIELD_KEY, 0),
	F(preauth_data, user, FIELD_INT, NULLABLE),
	F(preauth_data, reusable, FIELD_BOOL, 0),
	F(preauth_data, ephemeral, FIELD_BOOL, 0),
	F(preauth_data, used, FIELD_BOOL, 0),
	F(preauth_data, tags, FIELD_TEXT, 0),
	F(preauth_data, created, FIELD_INT, 0),
	F(preauth_data, expiry, FIELD_INT, NULLABLE),
	F(preauth_data, revoked, FIELD_INT, NULLABLE),
};
const struct record_type preauths_type = {
	"preauth_keys", preauth_fields, COUNT(preauth_fields), sizeof(struct preauth_data)};

static const struct field apikey_fields[] = {
	F(apikey_data, id, FIELD_INT, STORE_KEY),
	F(apikey_data, prefix, FIELD_TEXT, UNIQUE),
	F(apikey_data, hash, FIELD_KEY, 0),
	F(apikey_data, created, FIELD_INT, 0),
	F(apikey_data, expiry, FIELD_INT, NULLABLE),
	F(apikey_data, last_used, FIELD_INT, NULLABLE),
};
const struct record_type apikeys_type = {
	"api_keys", apikey_fields, COUNT(apikey_fields), sizeof(struct apikey_data)};

static const struct field node_fields[] = {
	F(node_data, id, FIELD_INT, STORE_KEY),
	{"machine_key", FIELD_KEY, 0, offsetof(struct node_data, machine), 0, NULL},
	{"node_key", FIELD_KEY, UNIQUE, offsetof(struct node_data, key), 0, NULL},
	{"disco_key", FIELD_KEY, NULLABLE, offsetof(struct node_data, disco), 0, NULL},
	{"lock_key", FIELD_KEY, NULLABLE, offsetof(struct node_data, lock), 0, NULL},
	{"user_id", FIELD_INT, NULLABLE, offsetof(struct node_data, user), 0, NULL},
	F(node_data, tags, FIELD_TEXT, 0),
	F(node_data, method, FIELD_INT, 0),
	{"preauth_key_id", FIELD_INT, NULLABLE, offsetof(struct node_data, preauth), 0, NULL},
	F(node_data, ephemeral, FIELD_BOOL, 0),
	F(node_data, approved, FIELD_BOOL, 0),
	F(node_data, renamed, FIELD_BOOL, 0),
	F(node_data, label, FIELD_TEXT, UNIQUE),
	F(node_data, hostname, FIELD_TEXT, 0),
	F(node_data, hostinfo, FIELD_TEXT, 0),
	F(node_data, endpoints, FIELD_TEXT, 0),
	F(node_data, approved_routes, FIELD_TEXT, 0),
	{"ipv4", FIELD_ADDR, UNIQUE | NULLABLE, offsetof(struct node_data, v4), 0, NULL},
	{"ipv6", FIELD_ADDR, UNIQUE | NULLABLE, offsetof(struct node_data, v6), 0, NULL},
	F(node_data, cap, FIELD_INT, 0),
	F(node_data, created, FIELD_INT, 0),
	F(node_data, expiry, FIELD_INT, NULLABLE),
	F(node_data, last_seen, FIELD_INT, NULLABLE),
	{"served_routes", FIELD_TEXT, 0, offsetof(struct node_data, served), 2, "[]"},
};
const struct record_type nodes_type = {
	"nodes", node_fields, COUNT(node_fields), sizeof(struct node_data)};

static const struct record_type *const types[] = {
	&users_type, &nodes_type, &preauths_type, &apikeys_type};
static struct store_table tables[COUNT(types) + 1];

int schema_declare(const char *const *files, struct err *err)
{
	static struct store_schema schema = {.name = TAILNET_STORE, .version = 2, .tables = tables};

	schema.files = files;

	for (size_t i = 0; i < COUNT(types); i++) {
		if (tables[i].columns)
			continue;
		tables[i] = (struct store_table){types[i]->table, record_columns(types[i]), 1};
		if (!tables[i].columns)
			return -ENOMEM;
	}
	return store_declare(&schema, err);
}

void schema_free(void)
{
	for (size_t i = 0; i < COUNT(types); i++) {
		free((void *)tables[i].columns);
		tables[i] = (struct store_table){0};
	}
}
