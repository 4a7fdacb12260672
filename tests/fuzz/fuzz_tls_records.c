/* SPDX-License-Identifier: BSD-3-Clause */
/* What a peer with good keys may put into records, and what anybody may put around them. */
#include <stdlib.h>

#include <sodium.h>

#include <tailplane/tls_records.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct tls_keys keys = {.suite = TLS_AES_128_GCM, .in = {1}, .out = {1}};
static const struct tls_keys keys_of_client = {
	.suite = TLS_AES_128_GCM, .client = true, .in = {1}, .out = {1}};

static void open_all(struct tls_records *records, const uint8_t *in, size_t len)
{
	uint8_t *to = malloc(len + 1);
	size_t taken = len;
	ssize_t n = tls_records_open(records, in, &taken, to);

	if (n >= 0 && (taken > len || (size_t)n > taken))
		abort();
	free(to);
}

/* The header says what it likes; or the first byte is the type that a sealed record gets. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct tls_records *ours, *theirs;
	uint8_t *sealed, bye[TLS_GOODBYE_LEN];
	size_t n;

	if (!len || len > TLS_TEXT_MAX || sodium_init() < 0)
		return 0;
	ours = tls_records_new(&keys);
	open_all(ours, data, len);
	tls_records_goodbye(ours, bye);
	tls_records_free(ours);

	ours = tls_records_new(data[0] & 0x80 ? &keys_of_client : &keys);
	theirs = tls_records_new(&keys);
	sealed = malloc(len + TLS_SEAL_MORE);
	n = tls_records_seal(theirs, data[0] & 0x7f, data + 1, len - 1, sealed);
	open_all(ours, sealed, n);
	tls_records_goodbye(ours, bye);
	free(sealed);
	tls_records_free(ours);
	tls_records_free(theirs);
	return 0;
}
