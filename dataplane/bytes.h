/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Integers in packets, at any alignment. */
#include <stdint.h>
#include <string.h>

/* As it lies there: big-endian stays big-endian. */
static inline uint32_t be32_at(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint16_t be16_at(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}
