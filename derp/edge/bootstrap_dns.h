/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/*
 * Addresses of a few names for clients whose resolver does not work: looked up by a job every ten
 * minutes (ten seconds while nothing is known of one), kept while that fails. Only names of the
 * settings: this is no open resolver. Control loop.
 */
#include "derp_conf.h"

void bootstrap_dns_start(const struct derp_conf *conf);
void bootstrap_dns_apply(const struct derp_conf *conf);
void bootstrap_dns_stop(void);
/* {"name":["address",...],...} of all, or of the one that is asked for; heap; NULL: no memory. */
char *bootstrap_dns_json(const char *name);
