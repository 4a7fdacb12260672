/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <tailplane/err.h>

#include "args.h"
#include "client.h"
#include "commands.h"
#include "format.h"
#include "options.h"

/* One run of the command. */
struct cli {
	struct options options;
	struct screen screen;
	struct commands commands;
	struct client client;
	struct err unreachable; /* why there is no client */
};

/* A command that needs no daemon. */
struct local {
	struct op op;
	/* Answers with a result to show (new reference) or none. -errno with a reason. */
	int (*run)(struct cli *cli, const json_t *args, json_t **result, struct err *err);
};
extern const struct local locals[]; /* name NULL ends the table */

int keys_new(struct cli *cli, const json_t *args, json_t **result, struct err *err);
int keys_public(struct cli *cli, const json_t *args, json_t **result, struct err *err);
int keys_psk(struct cli *cli, const json_t *args, json_t **result, struct err *err);
int import_wg(struct cli *cli, const json_t *args, json_t **result, struct err *err);

/* Asks the daemon which commands it has, unless that has been tried. */
void cli_connect(struct cli *cli);

/* Runs an operation of the daemon, shows what it answers. */
enum cli_exit remote_run(struct cli *cli, const struct op *op, const struct args *args);
/* The same again and again until interrupted. */
enum cli_exit remote_watch(struct cli *cli, const struct op *op, const struct args *args);
