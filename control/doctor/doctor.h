/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * `tailplane doctor`: looks at this server as clients would, from here, through relays and through
 * clients that are connected, and says what is wrong and what to do. Control loop.
 *
 * Looks go on at once, each with its own end; the examination ends when all have, or with its time.
 */
#include <tailplane/err.h>
#include <tailplane/loop.h>
#include <tailplane/op.h>

#include "fetch.h"
#include "stun.h"
#include "verdict.h"

#define DOCTOR_TOKEN 32 /* letters */
#define DOCTOR_RELAYS 4 /* regions that are asked over https */
#define DOCTOR_CLIENTS 8

enum doctor_task { /* that are under way */
	TASK_BEGIN = 1 << 0,
	TASK_LOOKUP = 1 << 1,
	TASK_SELF = 1 << 2,
	TASK_PLAIN = 1 << 3,
	TASK_STUN = 1 << 4,
	TASK_CLIENTS = 1 << 5,
	TASK_RELAYS = 1 << 6, /* the last: a bit for each */
};
#define TASKS_PATIENT (TASK_STUN | TASK_CLIENTS) /* end by silence */

/* One look over HTTP. */
struct asked {
	struct doctor *doctor;
	enum doctor_task task;
};

struct doctor {
	struct op_call *call; /* NULL: the asker went away */
	struct doctor *next, **prev;
	struct doctor_facts facts;
	char host[256], bracketed[260]; /* as it stands in a URL */
	char self_url[640], plain_url[320];
	char name_problem[128];
	unsigned tasks;
	struct lookup *lookup;
	struct fetcher *fetcher;
	struct asked self, plain, relays[DOCTOR_RELAYS];
	char self_token[DOCTOR_TOKEN + 1], client_tokens[DOCTOR_CLIENTS][DOCTOR_TOKEN + 1];
	unsigned clients_came;
	int stun_fd;
	uint8_t stun_id[STUN_TXID_SIZE];
	ev_io stun_io;
	ev_timer patience, end;
};

int doctor_start(struct err *err); /* the page that looks come in at */
void doctor_stop(void);

/* ---- between the files ---- */

void doctor_task_done(struct doctor *d, unsigned tasks);
void doctor_token(char token[DOCTOR_TOKEN + 1]);
/* Somebody asked for the page of looks. True: it was this examination's. */
bool doctor_visited(struct doctor *d, const char token[static DOCTOR_TOKEN],
	const struct net_endpoint *from, bool secure);

/* looks.c */
void doctor_look_name(struct doctor *d);
void doctor_forget_name(struct doctor *d);
void doctor_look_self(struct doctor *d);
void doctor_look_plain(struct doctor *d);
void doctor_ask_clients(struct doctor *d);
/* relay_looks.c */
void doctor_look_relays(struct doctor *d);
void doctor_stop_stun(struct doctor *d);
/* Begins it, or ends the task at once. Whatever answers is looked at, without a proxy. */
void doctor_fetch(
	struct doctor *d, struct asked *asked, struct fetch_request *look, fetch_done_fn done);
