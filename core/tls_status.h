/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

#include <jansson.h>

/* Adds "tls" to the core's status: who does which part, and why where it is not ours; nothing
 * while nobody has asked for TLS. Control loop. */
void tls_status(json_t *status);
