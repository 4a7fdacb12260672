/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* What the plugin's two halves share: a snapshot slot of this name. */
#include <stdatomic.h>
#include <stdint.h>

#define PORTCOUNT_SLOT "portcount"

struct portcount {
	uint16_t port;         /* inner UDP or TCP destination port that is counted; host order */
	uint8_t drop;          /* and dropped */
	_Atomic uint64_t seen; /* written by workers, read by the control loop */
	_Atomic uint64_t last; /* time of the last one, ns; likewise */
};
