/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * /derp: from an HTTP request to a connection; and the certificate by which clients know the key
 * before they ask. Runs on: the connection's I/O loop; the control loop, in start.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tailplane/websocket.h>

#include "relay.h"

#define DAY (24 * 3600)
#define HEAD_MAX 512

/* ---- requests ---- */

static bool wants_fast_start(const struct front_request *request)
{
	const char *field = front_field(request, "Derp-Fast-Start");

	return field && strcmp(field, "1") == 0;
}

/* They share a segment. */
void upgrade_greet(struct conn *conn, const char *head)
{
	uint8_t bytes[HEAD_MAX + DERP_HEADER_LEN + DERP_SERVER_KEY_LEN];
	size_t len = strlen(head);

	memcpy(bytes, head, len);
	len += derp_server_key_put(bytes + len, server.key.bytes);
	output_control(conn, bytes, (uint32_t)len);
}

/* NULL: it was answered, or there was no memory. */
static struct conn *take(struct front_request *request, enum derp_via via)
{
	struct derp_loop *loop = derp_loop_here();
	const char *ideal = front_field(request, "Ideal-Node");
	const char *why = limit_connection(loop, &front_from(request)->addr);
	bool not_ideal = ideal && *ideal;
	struct net_addr from = front_from(request)->addr;
	struct io_stream *stream;
	struct conn *conn;

	if (why) {
		front_header(request, "Retry-After", "5");
		front_reply_text(request, 503, why);
		return NULL;
	}
	stream = front_upgrade(request);
	conn = stream ? conn_new(loop, stream, via) : NULL;
	if (!conn) {
		limit_disconnected(&from);
		return NULL;
	}
	conn->counted = true;
	conn->not_ideal = not_ideal;
	COUNT(loop, accepts, 1);
	return conn;
}

static void serve_derp(struct front_request *request, void *user)
{
	bool fast = wants_fast_start(request);
	struct conn *conn = take(request, fast ? DERP_VIA_FAST : DERP_VIA_UPGRADE);
	char head[HEAD_MAX], key[2 * DERP_KEY_LEN + 1];

	(void)user;
	if (!conn)
		return;
	sodium_bin2hex(key, sizeof(key), server.key.bytes, DERP_KEY_LEN);
	snprintf(head, sizeof(head),
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n"
		"Derp-Version: %d\r\nDerp-Public-Key: %s\r\n\r\n",
		DERP_VERSION, key);
	if (fast)
		COUNT(conn->loop, accepts_fast, 1);
	upgrade_greet(conn, fast ? "" : head);
}

static void serve_websocket(struct front_request *request, void *user)
{
	const char *protocol = front_field(request, "Sec-WebSocket-Protocol");
	const char *version = front_field(request, "Sec-WebSocket-Version");
	char accept[WEBSOCKET_ACCEPT_LEN + 1], head[HEAD_MAX];
	struct conn *conn;

	if (!protocol || !strstr(protocol, "derp")) { /* very old clients mean DERP */
		serve_derp(request, user);
		return;
	}
	if (!version || strcmp(version, "13") != 0 ||
		websocket_accept(front_field(request, "Sec-WebSocket-Key"), accept) != 0) {
		front_reply_text(request, 400, "this is no WebSocket of version 13");
		return;
	}
	conn = take(request, DERP_VIA_WEBSOCKET);
	if (!conn)
		return;
	COUNT(conn->loop, accepts_websocket, 1);
	snprintf(head, sizeof(head),
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: derp\r\n\r\n",
		accept);
	if (!wire_wrap(conn, head)) {
		conn_close(conn);
		return;
	}
	upgrade_greet(conn, "");
}

static void refuse(struct front_request *request, void *user)
{
	(void)user;
	front_header(request, "Upgrade", "DERP");
	front_reply_text(request, 426,
		"DERP requires connection upgrade: a reverse proxy in between must pass Upgrade "
		"on");
}

int upgrade_routes(struct err *err)
{
	static const struct front_route routes[] = {
		{"GET", "/derp", "derp", 0, 0, serve_derp, &server},
		{"GET", "/derp", "websocket", 0, 0, serve_websocket, &server},
		{"GET", "/derp", "", 0, 0, refuse, &server},
	};
	int rc = 0;

	for (size_t i = 0; !rc && i < sizeof(routes) / sizeof(routes[0]); i++)
		rc = front_route_add(&routes[i], err);
	return rc;
}

/* ---- the certificate ---- */

static bool name_it(X509 *cert)
{
	char hex[2 * DERP_KEY_LEN + 1], name[sizeof("derpkey") + sizeof(hex)];
	X509_NAME *subject = X509_get_subject_name(cert);

	sodium_bin2hex(hex, sizeof(hex), server.key.bytes, DERP_KEY_LEN);
	snprintf(name, sizeof(name), "derpkey%s", hex);
	/* longer than X.520 allows for a common name, as clients want it: no MBSTRING, which checks
	 */
	return X509_NAME_add_entry_by_NID(subject, NID_commonName, V_ASN1_UTF8STRING,
		       (unsigned char *)name, -1, -1, 0) == 1 &&
	       X509_set_issuer_name(cert, subject) == 1;
}

static bool constrain(X509 *cert)
{
	/* without it some clients' systems cannot read the chain */
	X509_EXTENSION *ext =
		X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:FALSE");
	bool done = ext && X509_add_ext(cert, ext, -1) == 1;

	X509_EXTENSION_free(ext);
	return done;
}

static bool fill(X509 *cert, EVP_PKEY *key)
{
	return X509_set_version(cert, X509_VERSION_3) == 1 &&
	       ASN1_INTEGER_set(X509_get_serialNumber(cert), DERP_VERSION) == 1 &&
	       X509_gmtime_adj(X509_getm_notBefore(cert), -30L * DAY) &&
	       X509_gmtime_adj(X509_getm_notAfter(cert), 30L * DAY) && name_it(cert) &&
	       constrain(cert) && X509_set_pubkey(cert, key) == 1 && X509_sign(cert, key, NULL) > 0;
}

int meta_certificate(struct err *err)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	X509 *cert = X509_new();
	unsigned char *der = NULL;
	int len = key && cert && fill(cert, key) ? i2d_X509(cert, &der) : -1;
	int rc = len > 0 ? front_extra_certificate(der, (size_t)len, err)
			 : err_set(err, -ENOMEM,
				   "OpenSSL cannot make the certificate with the relay's key");

	OPENSSL_free(der);
	X509_free(cert);
	EVP_PKEY_free(key);
	return rc;
}
