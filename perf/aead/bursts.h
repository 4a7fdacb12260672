/* SPDX-License-Identifier: BSD-3-Clause */
/* Bursts of packets, and how long a method takes for one. */
#pragma once

#include "methods.h"

#define TEXT_MAX 9000

enum op { SEAL, OPEN, N_OPS };
enum cache { HOT, COLD, N_CACHES };

/* One condition under which every method is measured. */
struct point {
	enum op op;
	enum cache cache;
	unsigned size; /* of the text; 0: imix */
	unsigned batch, keys;
};

extern const char *const op_names[N_OPS];
extern const char *const cache_names[N_CACHES];
/* A static buffer. */
const char *size_name(unsigned size);

void bursts_init(void);
/* Makes the texts of the point, sealed by OpenSSL. Returns the mean length of a text. */
double bursts_make(const struct point *point);
/* Ends the program unless the method seals and opens these bursts as OpenSSL does. */
void bursts_check(const struct method *method, const struct point *point);
/* Nanoseconds a packet, after bursts_make for the same point; takes about `ms`. */
double bursts_measure(const struct method *method, const struct point *point, double ms);
