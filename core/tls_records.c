/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records of TLS 1.3 under keys that a handshake has made. Runs on: the connection's thread.
 *
 * After its handshake a connection carries text, alerts, changes of keys and, to a client, tickets;
 * what else could be sent (RFC 8446, 4.6) nobody has asked for. Our keys change before the next
 * record when the other side wishes it, or when so many went under them that AES-GCM's margin is
 * used up (5.5): a wish is answered when there is something to say, so nobody makes us talk.
 */
#include <tailplane/tls_records.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "secret.h"
#include "tls_aead.h"
#include "tls_hkdf.h"

#define RECORDS_MAX (1u << 24) /* of 2^24.5 */
/* Records in a row without text: no limit of who takes the text counts them, and new keys cost
 * much. OpenSSL has as many empty ones, Go half of it of either. */
#define BARREN_MAX 32

enum alert {
	CLOSE_NOTIFY = 0,
	UNEXPECTED_MESSAGE = 10,
	BAD_RECORD_MAC = 20,
	RECORD_OVERFLOW = 22,
	DECODE_ERROR = 50
};
enum alert_level { WARNING = 1, FATAL = 2 };
enum message { NEW_SESSION_TICKET = 4, KEY_UPDATE = 24 };

struct direction {
	struct tls_aead aead;
	uint8_t secret[32], iv[TLS_IV_LEN];
	uint64_t n; /* records under these keys */
};

struct tls_records {
	struct direction in, out;
	enum tls_suite suite;
	bool client;
	bool update; /* our keys, before the next record */
	bool ended;
	uint8_t barren; /* the last records, which brought no text */
	uint8_t alert;  /* why it cannot go on */
};

/* ---- keys ---- */

/* With no context (RFC 8446, 7.3). */
static void expand(const uint8_t secret[static 32], const char *label, uint8_t *out, uint8_t len)
{
	static const struct tls_bytes prefix = {(const uint8_t *)"tls13 ", 6};

	if (!tls_hkdf_expand_label(TLS_SHA256, (struct tls_bytes){secret, 32}, prefix,
		    (struct tls_bytes){(const uint8_t *)label, strlen(label)},
		    (struct tls_bytes){0}, out, len))
		abort(); /* no length here is out of bounds */
}

static bool derive(struct direction *dir, enum tls_suite suite, bool sealing)
{
	uint8_t key[TLS_KEY_MAX];
	bool done;

	expand(dir->secret, "key", key, tls_aead_key_len(suite));
	expand(dir->secret, "iv", dir->iv, TLS_IV_LEN);
	done = tls_aead_key(&dir->aead, suite, sealing, key);
	secret_zero(key, sizeof(key));
	return done;
}

static bool next_keys(struct direction *dir, enum tls_suite suite, bool sealing)
{
	uint8_t next[32];

	expand(dir->secret, "traffic upd", next, sizeof(next));
	memcpy(dir->secret, next, sizeof(next));
	secret_zero(next, sizeof(next));
	dir->n = 0;
	return derive(dir, suite, sealing);
}

/* 5.3 */
static void nonce_next(struct direction *dir, uint8_t nonce[static TLS_IV_LEN])
{
	uint64_t n = dir->n++;

	memcpy(nonce, dir->iv, TLS_IV_LEN);
	for (unsigned i = 0; i < 8; i++)
		nonce[TLS_IV_LEN - 1 - i] ^= (uint8_t)(n >> (8 * i));
}

/* ---- life ---- */

static bool open_direction(struct direction *dir, enum tls_suite suite, bool sealing,
	const uint8_t secret[static 32], uint64_t n)
{
	memcpy(dir->secret, secret, sizeof(dir->secret));
	dir->n = n;
	return derive(dir, suite, sealing);
}

struct tls_records *tls_records_new(const struct tls_keys *keys)
{
	struct tls_records *records = calloc(1, sizeof(*records));

	if (!records)
		return NULL;
	records->suite = keys->suite;
	records->client = keys->client;
	if (open_direction(&records->in, keys->suite, false, keys->in, keys->n_in) &&
		open_direction(&records->out, keys->suite, true, keys->out, keys->n_out))
		return records;
	tls_records_free(records);
	return NULL;
}

void tls_records_free(struct tls_records *records)
{
	if (!records)
		return;
	tls_aead_free(&records->in.aead);
	tls_aead_free(&records->out.aead);
	secret_zero(records, sizeof(*records));
	free(records);
}

bool tls_records_ended(const struct tls_records *records)
{
	return records->ended;
}

/* ---- out ---- */

static size_t seal(struct direction *dir, enum tls_content content, const uint8_t *text, size_t len,
	uint8_t *to)
{
	struct tls_inner inner = {text, len, (uint8_t)content};
	size_t sealed = len + 1 + TLS_TAG_LEN;
	uint8_t nonce[TLS_IV_LEN];

	to[0] = TLS_TEXT;
	to[1] = to[2] = 3;
	to[3] = (uint8_t)(sealed >> 8);
	to[4] = (uint8_t)sealed;
	nonce_next(dir, nonce);
	return tls_aead_seal(&dir->aead, nonce, &inner, to) ? TLS_HEADER_LEN + sealed : 0;
}

static size_t seal_update(struct tls_records *records, uint8_t *to)
{
	static const uint8_t not_requested[] = {KEY_UPDATE, 0, 0, 1, 0};
	size_t n = seal(&records->out, TLS_HANDSHAKE, not_requested, sizeof(not_requested), to);

	records->update = false;
	return n && next_keys(&records->out, records->suite, true) ? n : 0;
}

size_t tls_records_seal(struct tls_records *records, enum tls_content content, const uint8_t *bytes,
	size_t len, uint8_t *to)
{
	size_t before = 0, n;

	if (records->update || records->out.n >= RECORDS_MAX) {
		before = seal_update(records, to);
		if (!before)
			return 0;
	}
	n = seal(&records->out, content, bytes, len, to + before);
	return n ? before + n : 0;
}

size_t tls_records_goodbye(struct tls_records *records, uint8_t to[static TLS_GOODBYE_LEN])
{
	uint8_t alert[2] = {records->alert ? FATAL : WARNING, records->alert};

	return seal(&records->out, TLS_ALERT, alert, sizeof(alert), to);
}

/* ---- in ---- */

static int fail(struct tls_records *records, enum alert why)
{
	records->alert = (uint8_t)why;
	return -EPROTO;
}

static int take_update(struct tls_records *records, const uint8_t *body, size_t len)
{
	if (len != 1 || body[0] > 1)
		return fail(records, DECODE_ERROR);
	records->update |= body[0] == 1;
	return next_keys(&records->in, records->suite, false) ? 0 : -EPROTO;
}

/* Whole messages; tickets are for clients, and of no use to them here. */
static int take_handshake(struct tls_records *records, const uint8_t *message, size_t len)
{
	size_t body;

	for (; len; message += 4 + body, len -= 4 + body) {
		if (len < 4)
			return fail(records, DECODE_ERROR);
		body = (size_t)message[1] << 16 | (size_t)message[2] << 8 | message[3];
		if (body > len - 4)
			return fail(records, DECODE_ERROR);
		if (message[0] == KEY_UPDATE && body == len - 4) /* old keys end with it (5.1) */
			return take_update(records, message + 4, body);
		if (message[0] != NEW_SESSION_TICKET || !records->client)
			return fail(records, UNEXPECTED_MESSAGE);
	}
	return 0;
}

static int take_alert(struct tls_records *records, const uint8_t *alert, size_t len)
{
	if (len != 2)
		return fail(records, DECODE_ERROR);
	if (alert[1] != CLOSE_NOTIFY)
		return -EPROTO;
	records->ended = true;
	return 0;
}

/* The type stands behind the text and before any padding (5.2). How much text of ours there is. */
static ssize_t take_inner(struct tls_records *records, const uint8_t *inner, size_t len)
{
	while (len && !inner[len - 1])
		len--;
	if (!len)
		return fail(records, UNEXPECTED_MESSAGE);
	if (--len > TLS_TEXT_MAX)
		return fail(records, RECORD_OVERFLOW);
	if (!len && inner[len] != TLS_TEXT) /* 5.4 */
		return fail(records, UNEXPECTED_MESSAGE);
	switch (inner[len]) {
	case TLS_TEXT:
		return (ssize_t)len;
	case TLS_HANDSHAKE:
		return take_handshake(records, inner, len);
	case TLS_ALERT:
		return take_alert(records, inner, len);
	default:
		return fail(records, UNEXPECTED_MESSAGE);
	}
}

static bool open_record(struct direction *dir, const uint8_t *record, size_t len, uint8_t *to)
{
	uint8_t nonce[TLS_IV_LEN];

	nonce_next(dir, nonce);
	return tls_aead_open(&dir->aead, nonce, record, len, to);
}

/* The length of the record at `in`, which may not be whole yet; 0: not even its header. */
static ssize_t record_len(struct tls_records *records, const uint8_t *in, size_t len)
{
	size_t sealed;

	if (len < TLS_HEADER_LEN)
		return 0;
	sealed = (size_t)in[3] << 8 | in[4];
	if (in[0] != TLS_TEXT)
		return fail(records, UNEXPECTED_MESSAGE);
	if (TLS_HEADER_LEN + sealed > TLS_RECORD_MAX)
		return fail(records, RECORD_OVERFLOW);
	if (sealed < 1 + TLS_TAG_LEN)
		return fail(records, BAD_RECORD_MAC);
	return (ssize_t)(TLS_HEADER_LEN + sealed);
}

ssize_t tls_records_open(struct tls_records *records, const uint8_t *in, size_t *len, uint8_t *to)
{
	size_t at = 0, total = 0;

	while (!records->ended) {
		ssize_t one = record_len(records, in + at, *len - at), text;

		if (one < 0)
			return one;
		if (!one || (size_t)one > *len - at)
			break;
		if (!open_record(&records->in, in + at, (size_t)one, to + total))
			return fail(records, BAD_RECORD_MAC);
		text = take_inner(records, to + total, (size_t)one - TLS_HEADER_LEN - TLS_TAG_LEN);
		if (text < 0)
			return text;
		records->barren = text ? 0 : records->barren + 1;
		if (records->barren > BARREN_MAX)
			return fail(records, UNEXPECTED_MESSAGE);
		at += (size_t)one;
		total += (size_t)text;
	}
	*len = at;
	return (ssize_t)total;
}
