/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs on: the control loop. */
#include "tls_status.h"

#include <openssl/crypto.h>
#include <stdio.h>

#include <tailplane/front.h>

#include "tls_gcm.h"
#include "tls_library.h"
#include "tls_records_check.h"

/* `why_not`: NULL, it is `ours`. */
static void add(json_t *tls, const char *part, const char *ours, const char *why_not)
{
	char reason[32];

	json_object_set_new(tls, part, json_string(why_not ? "OpenSSL" : ours));
	snprintf(reason, sizeof(reason), "%s_reason", part);
	if (why_not)
		json_object_set_new(tls, reason, json_string(why_not));
}

void tls_status(json_t *status)
{
	struct tls_part x25519 = tls_library_x25519(), schedule = tls_library_schedule();
	struct tls_part records = tls_records_part();
	json_t *tls;

	if (!x25519.known && !records.known)
		return;
	tls = json_pack("{s:s}", "library", OpenSSL_version(OPENSSL_VERSION));
	if (x25519.known)
		add(tls, "x25519", "tailplane", x25519.why_not);
	if (schedule.known)
		add(tls, "key_schedule", "tailplane", schedule.why_not);
	if (records.known)
		add(tls, "relay_records", "tailplane", records.why_not);
	if (records.known && !records.why_not)
		add(tls, "aes_128_gcm", "ipsec-mb", tls_gcm_why_not());
	if (front_certificates_problem())
		json_object_set_new(
			tls, "certificates_not_taken", json_string(front_certificates_problem()));
	json_object_set_new(status, "tls", tls);
}
