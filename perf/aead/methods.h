/* SPDX-License-Identifier: BSD-3-Clause */
/* The implementations side by side: the project's own, and the peers behind the same interface. */
#pragma once

#include <stdbool.h>

#include "aead.h"

#define METHODS_MAX 12

struct method {
	const char *name;
	void (*seal)(struct aead_item *items, unsigned n);
	void (*open)(struct aead_item *items, unsigned n);
	bool ours;
};

extern struct method methods[METHODS_MAX];
extern unsigned n_methods;

/* Fills the table with what can run here; says on stderr what cannot and why. */
void methods_find(void);
void method_add(const struct method *method);
/* Keeps those named, in the order of the table. NULL: all. */
void methods_choose(const char *names);

/* In ipsec_mb.c, or in ipsec_mb_absent.c where the library is not installed. */
void ipsec_mb_find(void);
const char *ipsec_mb_version(void);
