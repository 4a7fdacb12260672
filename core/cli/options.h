/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <stdbool.h>

#include <tailplane/err.h>

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,      /* the operation said no */
	CLI_USAGE = 2,       /* the command line is wrong */
	CLI_UNREACHABLE = 3, /* no daemon at the socket */
};

enum output { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_YAML, OUTPUT_JSON_LINE };
enum colour { COLOUR_AUTO, COLOUR_ALWAYS, COLOUR_NEVER };

/* The options that each command takes, before its words or after. */
struct options {
	const char *socket; /* "none": do not ask the daemon */
	enum output output;
	enum colour colour;
	double watch_s; /* 0: once */
	bool help, version;
};

struct option_name {
	char letter;
	const char *name, *metavar, *help; /* name NULL ends the table */
};
extern const struct option_name option_names[];

/* The option that `word` is, or NULL; *value what is glued to it (--name=VALUE, -nVALUE) or NULL.
 */
const struct option_name *options_find(const char *word, const char **value);

void options_init(struct options *options);
/*
 * Takes argv[*i], and its value where it has one, if it is one of these options: 1, with *i on the
 * first word after it. 0: it is none of them. -EINVAL: it lacks its value or has a wrong one.
 */
int options_take(struct options *options, char *const *argv, int *i, struct err *err);
/* Only finds the socket, wherever it is said: who asks the daemon which commands there are cannot
 * know yet what the words mean. */
void options_find_socket(struct options *options, char *const *argv);
