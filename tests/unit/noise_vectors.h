/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once

/* Reads data/noise_vectors.txt: lines "field value", a handshake begins with "name". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct noise_vector {
	uint64_t unix_ns;
	uint8_t psk[32], static_i[32], static_r[32], ephemeral_i[32], ephemeral_r[32];
	uint8_t cookie_in[16]; /* zero: none */
	uint8_t timestamp[12], initiation[148], response[92], key_i[32], key_r[32];
	uint8_t cookie_out[16], cookie_reply[64];
};

#define NOISE_VECTORS_MAX 8

static const struct {
	const char *name;
	size_t offset, size;
} noise_vector_fields[] = {
#define FIELD(name)                                              \
	{                                                        \
#name, offsetof(struct noise_vector, name),      \
			sizeof(((struct noise_vector *)0)->name) \
	}
	FIELD(psk),
	FIELD(static_i),
	FIELD(static_r),
	FIELD(ephemeral_i),
	FIELD(ephemeral_r),
	FIELD(cookie_in),
	FIELD(timestamp),
	FIELD(initiation),
	FIELD(response),
	FIELD(key_i),
	FIELD(key_r),
	FIELD(cookie_out),
	FIELD(cookie_reply),
#undef FIELD
};

static inline void noise_vector_set(struct noise_vector *v, const char *field, const char *value)
{
	for (size_t f = 0; f < sizeof(noise_vector_fields) / sizeof(noise_vector_fields[0]); f++) {
		uint8_t *out = (uint8_t *)v + noise_vector_fields[f].offset;

		if (strcmp(field, noise_vector_fields[f].name) != 0)
			continue;
		if (strcmp(value, "-") == 0)
			return;
		assert_int_equal(strlen(value), 2 * noise_vector_fields[f].size);
		for (size_t i = 0; i < noise_vector_fields[f].size; i++)
			assert_int_equal(sscanf(value + 2 * i, "%2hhx", &out[i]), 1);
		return;
	}
	fail_msg("a field that is not known: %s", field);
}

static inline unsigned noise_vectors_read(
	const char *path, struct noise_vector vectors[NOISE_VECTORS_MAX])
{
	FILE *file = fopen(path, "r");
	char line[1024], field[32], value[512];
	unsigned n = 0;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		if (line[0] == '#')
			continue;
		assert_int_equal(sscanf(line, "%31s %511s", field, value), 2);
		if (strcmp(field, "name") == 0) {
			assert_true(n < NOISE_VECTORS_MAX);
			vectors[n++] = (struct noise_vector){0};
		} else if (strcmp(field, "unix_ns") == 0) {
			vectors[n - 1].unix_ns = strtoull(value, NULL, 10);
		} else {
			noise_vector_set(&vectors[n - 1], field, value);
		}
	}
	fclose(file);
	assert_true(n > 0);
	return n;
}
