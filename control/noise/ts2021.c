/* SPDX-License-Identifier: BSD-3-Clause */
/* The handshake: Noise IK, both ends. Runs on: any thread. */
#include "ts2021.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "blake2s.h"
#include "chapoly.h"
#include "kdf.h"
#include "x25519.h"

#define KEY_LEN 32
#define HASH_LEN 32
#define INITIATION_HEADER_LEN 5

static const char construction[] = "Noise_IK_25519_ChaChaPoly_BLAKE2s";

/* Places in an initiation, behind version, type and length. */
enum {
	I_EPHEMERAL = INITIATION_HEADER_LEN,
	I_STATIC = I_EPHEMERAL + KEY_LEN,
	I_TAG = I_STATIC + KEY_LEN + TS2021_TAG_LEN,
	R_EPHEMERAL = TS2021_HEADER_LEN,
	R_TAG = R_EPHEMERAL + KEY_LEN,
};
_Static_assert(I_TAG + TS2021_TAG_LEN == TS2021_INITIATION_LEN, "initiation");
_Static_assert(R_TAG + TS2021_TAG_LEN == TS2021_RESPONSE_LEN, "response");

/* h and ck of the Noise specification; `k` is the key of the last MixKey. */
struct transcript {
	uint8_t h[HASH_LEN], ck[HASH_LEN];
	struct symmetric_key k;
};

static void mix_hash(struct transcript *t, const void *data, size_t len)
{
	struct blake2s_state state;

	blake2s_init(&state, HASH_LEN);
	blake2s_update(&state, t->h, HASH_LEN);
	blake2s_update(&state, data, len);
	blake2s_final(&state, t->h);
}

static bool mix_dh(
	struct transcript *t, const struct private_key *ours, const struct public_key *theirs)
{
	uint8_t shared[32];
	bool ok = x25519_shared(shared, ours, theirs);

	if (ok)
		kdf2(t->ck, t->k.bytes, t->ck, shared, sizeof(shared));
	secret_zero(shared, sizeof(shared));
	return ok;
}

/* Each key seals once, so the counter is always 0. */
static void seal_and_hash(struct transcript *t, uint8_t *dst, const void *src, size_t len)
{
	chapoly_seal(dst, src, len, t->h, HASH_LEN, 0, &t->k);
	mix_hash(t, dst, len + TS2021_TAG_LEN);
}

static bool open_and_hash(struct transcript *t, uint8_t *dst, const uint8_t *src, size_t len)
{
	if (!chapoly_open(dst, src, len, t->h, HASH_LEN, 0, &t->k))
		return false;
	mix_hash(t, src, len);
	return true;
}

/* The prologue has the client's version, whatever it is: both ends hash the same. */
static void begin(struct transcript *t, uint16_t version, const struct public_key *server)
{
	char prologue[48];
	int len = snprintf(prologue, sizeof(prologue), "Tailscale Control Protocol v%u", version);

	blake2s(t->h, HASH_LEN, NULL, 0, construction, sizeof(construction) - 1);
	memcpy(t->ck, t->h, HASH_LEN);
	mix_hash(t, prologue, (size_t)len);
	mix_hash(t, server->bytes, KEY_LEN);
}

/* Of the client's direction first. */
static void split(struct transcript *t, struct ts2021_cipher *up, struct ts2021_cipher *down)
{
	kdf2(up->key.bytes, down->key.bytes, t->ck, NULL, 0);
	up->counter = down->counter = 0;
}

static uint16_t be16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static void put_be16(uint8_t *bytes, size_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

/* ---- server ---- */

int ts2021_initiation_version(
	const uint8_t initiation[static TS2021_INITIATION_LEN], uint16_t *version)
{
	if (initiation[2] != TS2021_INITIATION ||
		be16(initiation + 3) != TS2021_INITIATION_LEN - INITIATION_HEADER_LEN)
		return -EPROTO;
	*version = be16(initiation);
	return 0;
}

/* e, es, s, ss */
static bool read_initiation(struct transcript *t, const struct ts2021_server *server,
	const uint8_t *msg, struct public_key *e, struct public_key *machine)
{
	uint8_t nothing[1];

	memcpy(e->bytes, msg + I_EPHEMERAL, KEY_LEN);
	mix_hash(t, e->bytes, KEY_LEN);
	return mix_dh(t, &server->key, e) &&
	       open_and_hash(t, machine->bytes, msg + I_STATIC, KEY_LEN + TS2021_TAG_LEN) &&
	       mix_dh(t, &server->key, machine) &&
	       open_and_hash(t, nothing, msg + I_TAG, TS2021_TAG_LEN);
}

/* e, ee, se */
static bool write_response(struct transcript *t, const struct public_key *e,
	const struct public_key *machine, uint8_t *response)
{
	struct private_key ephemeral;
	struct public_key ephemeral_public;
	bool ok;

	x25519_generate(&ephemeral);
	x25519_public(&ephemeral_public, &ephemeral);
	response[0] = TS2021_RESPONSE;
	put_be16(response + 1, TS2021_RESPONSE_LEN - TS2021_HEADER_LEN);
	memcpy(response + R_EPHEMERAL, ephemeral_public.bytes, KEY_LEN);
	mix_hash(t, ephemeral_public.bytes, KEY_LEN);
	ok = mix_dh(t, &ephemeral, e) && mix_dh(t, &ephemeral, machine);
	if (ok)
		seal_and_hash(t, response + R_TAG, NULL, 0);
	secret_zero(&ephemeral, sizeof(ephemeral));
	return ok;
}

int ts2021_accept(const struct ts2021_server *server,
	const uint8_t initiation[static TS2021_INITIATION_LEN],
	uint8_t response[static TS2021_RESPONSE_LEN], struct public_key *machine, uint16_t *version,
	struct ts2021_keys *keys)
{
	struct transcript t;
	struct public_key e;
	bool ok;

	memset(response, 0, TS2021_RESPONSE_LEN);
	memset(machine, 0, sizeof(*machine));
	memset(keys, 0, sizeof(*keys));
	if (ts2021_initiation_version(initiation, version) != 0)
		return -EPROTO;
	begin(&t, *version, &server->public_key);
	ok = read_initiation(&t, server, initiation, &e, machine) &&
	     write_response(&t, &e, machine, response);
	if (ok)
		split(&t, &keys->receive, &keys->send);
	else
		memset(machine, 0, sizeof(*machine));
	secret_zero(&t, sizeof(t));
	return ok ? 0 : -EACCES;
}

/* ---- client ---- */

/* e, es, s, ss */
static bool write_initiation(struct transcript *t, struct ts2021_client *client,
	const struct public_key *server, uint8_t *msg)
{
	struct public_key e, s;

	x25519_generate(&client->ephemeral);
	x25519_public(&e, &client->ephemeral);
	x25519_public(&s, &client->machine);
	memcpy(msg + I_EPHEMERAL, e.bytes, KEY_LEN);
	mix_hash(t, e.bytes, KEY_LEN);
	if (!mix_dh(t, &client->ephemeral, server))
		return false;
	seal_and_hash(t, msg + I_STATIC, s.bytes, KEY_LEN);
	if (!mix_dh(t, &client->machine, server))
		return false;
	seal_and_hash(t, msg + I_TAG, NULL, 0);
	return true;
}

int ts2021_initiate(struct ts2021_client *client, const struct private_key *machine,
	const struct public_key *server, uint16_t version,
	uint8_t initiation[static TS2021_INITIATION_LEN])
{
	struct transcript t;
	bool ok;

	client->machine = *machine;
	put_be16(initiation, version);
	initiation[2] = TS2021_INITIATION;
	put_be16(initiation + 3, TS2021_INITIATION_LEN - INITIATION_HEADER_LEN);
	begin(&t, version, server);
	ok = write_initiation(&t, client, server, initiation);
	memcpy(client->hash, t.h, HASH_LEN);
	memcpy(client->chaining_key, t.ck, HASH_LEN);
	secret_zero(&t, sizeof(t));
	if (!ok)
		secret_zero(client, sizeof(*client));
	return ok ? 0 : -EACCES;
}

/* e, ee, se */
static bool read_response(
	struct transcript *t, const struct ts2021_client *client, const uint8_t *msg)
{
	struct public_key e;
	uint8_t nothing[1];

	memcpy(e.bytes, msg + R_EPHEMERAL, KEY_LEN);
	mix_hash(t, e.bytes, KEY_LEN);
	return mix_dh(t, &client->ephemeral, &e) && mix_dh(t, &client->machine, &e) &&
	       open_and_hash(t, nothing, msg + R_TAG, TS2021_TAG_LEN);
}

int ts2021_finish(struct ts2021_client *client, const uint8_t response[static TS2021_RESPONSE_LEN],
	struct ts2021_keys *keys)
{
	struct transcript t;
	int rc = -EPROTO;

	memset(keys, 0, sizeof(*keys));
	memcpy(t.h, client->hash, HASH_LEN);
	memcpy(t.ck, client->chaining_key, HASH_LEN);
	if (response[0] == TS2021_RESPONSE &&
		be16(response + 1) == TS2021_RESPONSE_LEN - TS2021_HEADER_LEN)
		rc = read_response(&t, client, response) ? 0 : -EACCES;
	if (!rc)
		split(&t, &keys->send, &keys->receive);
	secret_zero(&t, sizeof(t));
	secret_zero(client, sizeof(*client));
	return rc;
}

size_t ts2021_error(uint8_t *frame, const char *text)
{
	size_t len = strnlen(text, TS2021_ERROR_MAX);

	frame[0] = TS2021_ERROR;
	put_be16(frame + 1, len);
	memcpy(frame + TS2021_HEADER_LEN, text, len);
	return TS2021_HEADER_LEN + len;
}
