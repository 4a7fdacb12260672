/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Random packets for who cuts and joins them; after cmocka. */
#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "gso.h"
#include "ip_model.h"
#include "prng.h"

#define FIN 0x01
#define SYN 0x02
#define PSH 0x08
#define ACK 0x10
#define ECE 0x40
#define CWR 0x80

static struct prng prng;

static inline uint32_t random_next(void)
{
	return (uint32_t)prng_next(&prng);
}

static inline unsigned random_below(unsigned n)
{
	return prng_below(&prng, n);
}

static uint8_t payload[65536];

static inline struct model_packet model_random(bool v6, bool udp)
{
	struct model_packet m = {.v6 = v6,
		.udp = udp,
		.tos = (uint8_t)random_next(),
		.ttl = 64,
		.flags = ACK,
		.dont_fragment = random_below(2),
		.sport = (uint16_t)random_next(),
		.dport = (uint16_t)random_next(),
		.id = (uint16_t)random_next(),
		.window = (uint16_t)random_next(),
		.seq = random_next(),
		.ack = random_next(),
		.flow_label = random_next(),
		.n_options = udp ? 0 : (uint8_t)(random_below(11) * 4),
		.payload = payload};

	for (unsigned i = 0; i < sizeof(m.addresses); i++)
		m.addresses[i] = (uint8_t)random_next();
	for (unsigned i = 0; i < sizeof(m.options); i++)
		m.options[i] = (uint8_t)random_next();
	return m;
}
static inline int setup(void **state)
{
	prng_fill(&prng, payload, sizeof(payload));
	return 0;
}
