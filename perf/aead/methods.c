/* SPDX-License-Identifier: BSD-3-Clause */
#include "methods.h"

#include <err.h>
#include <string.h>

#include <sodium.h>

#include "lists.h"
#include "openssl_aead.h"

struct method methods[METHODS_MAX];
unsigned n_methods;

static struct openssl_aead openssl;

static void nonce_of(const struct aead_item *item, uint8_t nonce[static 12])
{
	memset(nonce, 0, 4);
	memcpy(nonce + 4, item->nonce, 8);
}

/* --- libsodium, one call a packet --- */

static void sodium_seal(struct aead_item *items, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint8_t nonce[12];

		nonce_of(&items[i], nonce);
		crypto_aead_chacha20poly1305_ietf_encrypt(items[i].dst, NULL, items[i].src[0].data,
			items[i].src[0].len, NULL, 0, NULL, nonce, items[i].key->bytes);
	}
}

static void sodium_open(struct aead_item *items, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint8_t nonce[12];

		nonce_of(&items[i], nonce);
		items[i].ok = crypto_aead_chacha20poly1305_ietf_decrypt(items[i].dst, NULL, NULL,
				      items[i].src[0].data, items[i].src[0].len, NULL, 0, nonce,
				      items[i].key->bytes) == 0;
	}
}

/* --- OpenSSL's EVP --- */

static struct openssl_message message_of(const struct aead_item *item, uint8_t nonce[static 12])
{
	nonce_of(item, nonce);
	return (struct openssl_message){
		.key = item->key->bytes,
		.nonce = nonce,
		.src = item->src[0].data,
		.len = item->src[0].len,
	};
}

static void openssl_seal_burst(struct aead_item *items, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint8_t nonce[12];
		struct openssl_message message = message_of(&items[i], nonce);

		openssl_seal(&openssl, items[i].dst, &message);
	}
}

static void openssl_open_burst(struct aead_item *items, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint8_t nonce[12];
		struct openssl_message message = message_of(&items[i], nonce);

		items[i].ok = openssl_open(&openssl, items[i].dst, &message);
	}
}

/* --- the table --- */

void method_add(const struct method *method)
{
	if (n_methods == METHODS_MAX)
		errx(1, "%s: no room for it", method->name);
	methods[n_methods++] = *method;
}

void methods_find(void)
{
	if (sodium_init() < 0)
		errx(1, "libsodium does not start");
	for (const struct aead_impl *const *impl = aead_impls; *impl != NULL; impl++) {
		const struct method method = {(*impl)->name, (*impl)->seal, (*impl)->open, true};

		if ((*impl)->usable())
			method_add(&method);
		else
			warnx("%s: not on this machine", (*impl)->name);
	}
	openssl_aead_init(&openssl);
	method_add(&(struct method){"libsodium", sodium_seal, sodium_open, false});
	method_add(&(struct method){"openssl", openssl_seal_burst, openssl_open_burst, false});
	ipsec_mb_find();
}

void methods_choose(const char *names)
{
	const char *known[METHODS_MAX];
	bool chosen[METHODS_MAX] = {false};
	unsigned kept = 0;

	if (names == NULL)
		return;
	for (unsigned i = 0; i < n_methods; i++)
		known[i] = methods[i].name;
	names_read(names, known, n_methods, chosen);
	for (unsigned i = 0; i < n_methods; i++) {
		if (chosen[i])
			methods[kept++] = methods[i];
	}
	n_methods = kept;
}
