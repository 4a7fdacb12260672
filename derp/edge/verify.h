/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Who may use the relay: nodes of the control server in this process, keys of a file, whom a URL
 * says yes to; whoever one of them knows is let in. Nobody is while those who would know do not
 * answer, but for clients that they have let in lately. Control loop.
 */
#include <tailplane/err.h>
#include <tailplane/metrics.h>

#include "admission.h"
#include "derp_conf.h"

int verify_start(const struct derp_conf *conf, struct err *err);
void verify_apply(const struct derp_conf *conf);
/* Answers all questions that are open with no, and each that still comes. Before derp_server_stop.
 */
void verify_stop(void);
const struct derp_admission *verify_admission(void);
/* A key is no longer good, says who knows the nodes: asks again, and ends its connections unless
 * somebody else knows it. */
void verify_again(const struct public_key *key);
/* In the hook hand_over: who was known to us is known to the successor. */
void verify_hand_over(void);
/* What decides, for people: "control, file, url", "anybody". */
void verify_describe(char *text, size_t size);
void verify_collect(struct metric_sink *sink);
