/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Between the files of the operations. Control loop. */
#include "tailplane/op.h"

struct tunnel;

/* NULL: not given. */
const char *ops_arg_text(const json_t *args, const char *name);
/* The tunnel that an operation means; answers the call itself when there is none. */
struct tunnel *ops_arg_tunnel(struct op_call *call, const json_t *args);

/* ops_peers.c */
void peers_run(struct op_call *call, const json_t *args);
void peers_add_run(struct op_call *call, const json_t *args);
void peers_set_run(struct op_call *call, const json_t *args);
void peers_remove_run(struct op_call *call, const json_t *args);
