/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * The process that takes over from this one: see successor.c. Control loop.
 */
#include <stdbool.h>

#include <tailplane/err.h>

struct op_call;

/* First of all: the command that started us, to be given again; kept. */
void successor_init(char *const argv[]);
/* Starts one; `call` (NULL: nobody asks) is answered when it serves, or has failed. */
void successor_start(struct op_call *call);
/* One has been started: settings stay as they are. */
bool successor_is_under_way(void);
/* It serves: the service is its own, and we only end what we have. */
bool successor_serves(void);
/* We end: one that does not serve yet ends as well. */
void successor_cancel(void);
/* Behind inherit_init, without threads: one that is to take over goes on as a child of its own,
 * which the first process of the system has then: a service manager waits only for its own
 * children. */
void successor_begin(void);
/* Tells the process before us, if there is one, that we are ready to serve, and takes what it
 * leaves us. Before anybody is accepted. */
int successor_report(struct err *err);
