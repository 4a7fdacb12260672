/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What clients are told of DNS, and the file with further records. Control loop. */
#include "conf.h"

/* JSON of "DNSConfig"; heap, NULL without memory. `more`: a JSON array from dns_records_read, or
 * NULL. */
char *dns_config(const struct control_conf *conf, const char *more);
/*
 * The file's records as clients get them: a JSON array; what is neither A nor AAAA, or has no
 * address of that kind, is left out and counted in `bad`. NULL with the reason.
 */
char *dns_records_read(const char *text, size_t len, size_t *bad, struct err *err);
