/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* The request for a relay's byte stream, and the head of its answer. Pure: any thread. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "target.h"

#define DERP_REQUEST_MAX 1024
#define DERP_RESPONSE_MAX 8192

/* `fast`: the relay is to answer with its first frame, without a head. The length. */
size_t derp_request_write(
	char buf[static DERP_REQUEST_MAX], const struct derp_target *target, bool fast);

struct derp_response {
	int status;
	char reason[64]; /* printable */
};

/* The length of the head that `bytes` begin with; 0: not whole yet; -EPROTO: it is none, or longer
 * than DERP_RESPONSE_MAX. */
ssize_t derp_response_parse(const uint8_t *bytes, size_t len, struct derp_response *response);
