/* SPDX-License-Identifier: BSD-3-Clause */
#include <err.h>

#include "methods.h"

void ipsec_mb_find(void)
{
	warnx("built without ipsec-mb (Debian: libipsec-mb-dev): there is no comparison with it");
}

const char *ipsec_mb_version(void)
{
	return "absent";
}
