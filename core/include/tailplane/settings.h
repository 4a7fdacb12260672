/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "net.h"

#pragma GCC visibility push(default)

/*
 * Settings are declared as data. The core parses libconfig text into the plugin's own struct (by
 * offset), checks type and bounds with file and line, documents (tailplane.conf(5)) and prints it
 * back (-nv). A plugin reads valid typed values.
 */
enum setting_type {
	SETTING_BOOL,        /* bool */
	SETTING_INT,         /* int64_t, within min..max */
	SETTING_STRING,      /* char *; NULL when unset and without default */
	SETTING_ENUM,        /* int, index into choices */
	SETTING_DURATION,    /* uint64_t, ns; "120s", "250ms", "5m", "1h30m" */
	SETTING_SIZE,        /* uint64_t, bytes; "64MiB", "9000B" */
	SETTING_RATE,        /* uint64_t, bit/s; "10Gbit/s" */
	SETTING_ADDRESS,     /* struct net_addr */
	SETTING_PREFIX,      /* struct net_prefix; "10.0.0.1/24" */
	SETTING_ENDPOINT,    /* char *, "host:port" whose syntax was checked; host may be a name */
	SETTING_KEY,         /* uint8_t[32], base64 in the text: a public key */
	SETTING_SECRET_FILE, /* char *, path of a file with mode 0600; relative to the state dir */
	SETTING_PATH,        /* char *; relative to the state dir */
	SETTING_GROUP,       /* struct at offset, described by `sub` */
};

enum setting_flag {
	SETTING_REQUIRED = 1 << 0, /* where its group is present; a list: with an element */
	SETTING_LIST = 1 << 1,    /* struct setting_list of the type's values; groups: of structs */
	SETTING_UNIQUE = 1 << 2,  /* in a list of groups: no two elements share this value */
	SETTING_RESTART = 1 << 3, /* documented as: takes a restart of the daemon */
	SETTING_OR_NONE = 1 << 4, /* a prefix: "" takes the default's place and leaves it unset */
};

struct setting_list {
	void *items; /* array of the element type */
	size_t count;
};

struct setting {
	const char *name; /* NULL ends a table */
	enum setting_type type;
	unsigned flags;
	size_t offset;
	const char *def;  /* as in the text; NULL: zero/unset. Lists: always empty */
	int64_t min, max; /* INT: value; DURATION ns, SIZE bytes, RATE bit/s; both 0: any */
	const char *const *choices; /* ENUM, NULL-terminated */
	const struct setting *sub;  /* GROUP */
	size_t size;                /* GROUP: size of its struct */
	const char *unit;           /* shown in the manual */
	const char *help;           /* a sentence; what it does and when to change it */
};

/*
 * For checks between fields (hook `validate`): reports against the place in the text that set
 * `field` (a pointer into the plugin's settings struct; a group's address stands for the group).
 * May be called several times; every complaint is shown.
 */
struct setting_errors;
void setting_error(struct setting_errors *errs, const void *field, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/*
 * In such a check: a setting of another group, by its whole name ("core.http.listen_addr"), as the
 * type says that its table has; not within elements of lists. NULL: that plugin is not loaded, or
 * there is something to complain about in the group.
 */
const void *setting_of(const struct setting_errors *errs, const char *name);

/* The same text forms, for operations and files. 0 or -EINVAL with a reason. */
int setting_parse_duration(uint64_t *ns, const char *text, struct err *err);
int setting_parse_size(uint64_t *bytes, const char *text, struct err *err);
int setting_parse_rate(uint64_t *bits, const char *text, struct err *err);
int setting_parse_key(uint8_t key[static 32], const char *text, struct err *err);
/* A short form that parses back to exactly the same value. */
const char *setting_format_duration(uint64_t ns, char buf[static 32]);
const char *setting_format_size(uint64_t bytes, char buf[static 32]);
const char *setting_format_rate(uint64_t bits, char buf[static 32]);
const char *setting_format_key(const uint8_t key[static 32], char buf[static 45]);

#pragma GCC visibility pop
