/* SPDX-License-Identifier: BSD-3-Clause */
/* What a handshake is made of, one by one, and what else could be used for it. */
#pragma once

struct primitive {
	const char *impl, *op;
	void (*run)(void);
};

extern const struct primitive primitives[];
extern const unsigned n_primitives;

/* Ends the program unless all that compute the same agree. */
void primitives_init(void);
