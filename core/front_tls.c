/* SPDX-License-Identifier: BSD-3-Clause */
/* Contexts and handshakes. Runs on: the control loop (contexts), I/O loops (handshakes). */
#include "front_tls.h"

#include <errno.h>
#include <ev.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tls_library.h"
#include "tls_socket.h"

#define NAME_MAX_LEN 255

/* AES-128 first: both are beyond attack, and it is cheaper, as is its hash. A client that puts
 * ChaCha20 first has no AES instructions, and gets that (SSL_OP_PRIORITIZE_CHACHA). */
#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

/*
 * A certificate as OpenSSL wants it. To put key and chain together, with all that it checks, costs
 * as much as the signature, so it is done once; handshakes switch to the result. They begin with
 * that for clients which name nobody: the switch has a price, too.
 */
struct prepared {
	struct prepared *next;
	const struct tls_certificate *cert;
	SSL_CTX *ctx;
};

struct tls_context {
	_Atomic unsigned refs; /* of the control loop and of I/O loops; the last put frees */
	SSL_CTX *ctx;          /* handshakes hold it, and through it this */
	const struct tls_certificate *first; /* that `ctx` has; NULL: none */
	struct tls_provider provider;
	X509 *extra;
	_Atomic(struct prepared *) prepared; /* any I/O loop adds; none goes before the context */
};

/* ---- which certificate ---- */

/* RFC 6066, 3: a list with one name of type 0. False: there is an extension and it is broken. */
static bool server_name(SSL *ssl, char name[NAME_MAX_LEN + 1])
{
	const unsigned char *ext;
	size_t len, n;

	name[0] = '\0';
	if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &ext, &len))
		return true;
	if (len < 5 || ext[2] != 0)
		return false;
	n = (size_t)ext[3] << 8 | ext[4];
	if (n != len - 5 || !n || n > NAME_MAX_LEN || memchr(ext + 5, '\0', n))
		return false;
	memcpy(name, ext + 5, n);
	name[n] = '\0';
	if (name[n - 1] == '.')
		name[n - 1] = '\0';
	return true;
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
	const unsigned char *in, unsigned in_len, void *arg)
{
	static const unsigned char ours[] = "\x08http/1.1";

	(void)ssl, (void)arg;
	if (SSL_select_next_proto((unsigned char **)out, out_len, ours, sizeof(ours) - 1, in,
		    in_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	return SSL_TLSEXT_ERR_OK;
}

static void configure(SSL_CTX *ctx)
{
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
					 SSL_OP_PRIORITIZE_CHACHA | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_ciphersuites(ctx, SUITES);
	/* resumption by tickets alone: nothing is kept here */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ctx, 1);
	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"tailplane", 9);
	SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
}

static bool use(SSL_CTX *ctx, const struct tls_certificate *cert, X509 *extra)
{
	return SSL_CTX_use_cert_and_key(ctx, cert->leaf, cert->key, cert->chain, 1) == 1 &&
	       (!extra || SSL_CTX_add1_chain_cert(ctx, extra) == 1);
}

static void prepared_free(struct prepared *p)
{
	if (p)
		SSL_CTX_free(p->ctx);
	free(p);
}

static struct prepared *prepare(struct tls_context *context, const struct tls_certificate *cert)
{
	struct prepared *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->cert = cert;
	p->ctx = tls_library_server();
	if (!p->ctx || !use(p->ctx, cert, context->extra)) {
		prepared_free(p);
		return NULL;
	}
	configure(p->ctx);
	/* release: who finds it in the list finds all of it; two of one certificate do no harm */
	p->next = atomic_load_explicit(&context->prepared, memory_order_acquire);
	while (!atomic_compare_exchange_weak_explicit(
		&context->prepared, &p->next, p, memory_order_release, memory_order_acquire))
		;
	return p;
}

static SSL_CTX *prepared_for(struct tls_context *context, const struct tls_certificate *cert)
{
	struct prepared *p = atomic_load_explicit(&context->prepared, memory_order_acquire);

	if (cert == context->first)
		return context->ctx;
	while (p && p->cert != cert)
		p = p->next;
	if (!p)
		p = prepare(context, cert);
	return p ? p->ctx : NULL;
}

/* RFC 8446, 4.2.9: who names no way to use a ticket gets none. Relays' clients are such. */
static void choose_tickets(SSL *ssl)
{
	const unsigned char *modes;
	size_t len;

	if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_psk_kex_modes, &modes, &len))
		SSL_set_num_tickets(ssl, 0);
}

static int choose_certificate(SSL *ssl, int *alert, void *arg)
{
	struct tls_context *context = arg;
	const struct tls_certificate *cert;
	const unsigned char *alpn = NULL;
	SSL_CTX *ctx;
	char name[NAME_MAX_LEN + 1];
	size_t alpn_len = 0;

	*alert = SSL_AD_DECODE_ERROR;
	if (!server_name(ssl, name))
		return SSL_CLIENT_HELLO_ERROR;
	SSL_client_hello_get0_ext(
		ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &alpn, &alpn_len);
	cert = context->provider.find(context->provider.arg, name[0] ? name : NULL, alpn, alpn_len);
	*alert = SSL_AD_UNRECOGNIZED_NAME;
	if (!cert)
		return SSL_CLIENT_HELLO_ERROR;
	*alert = SSL_AD_INTERNAL_ERROR;
	ctx = prepared_for(context, cert);
	/* what it began with stays as its session's, and so does the context */
	if (!ctx || !SSL_set_SSL_CTX(ssl, ctx))
		return SSL_CLIENT_HELLO_ERROR;
	choose_tickets(ssl);
	return SSL_CLIENT_HELLO_SUCCESS;
}

/* ---- contexts ---- */

static void context_free(struct tls_context *context)
{
	struct prepared *p = atomic_load_explicit(&context->prepared, memory_order_acquire), *next;

	for (; p; p = next) {
		next = p->next;
		prepared_free(p);
	}
	if (context->provider.free)
		context->provider.free(context->provider.arg);
	X509_free(context->extra);
	free(context);
}

/* Called when the last handshake and the last loop have let go. */
static void on_ctx_free(
	void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
	(void)parent, (void)ad, (void)index, (void)argl, (void)argp;
	if (ptr)
		context_free(ptr);
}

static int context_slot(void)
{
	static int slot = -1; /* control loop only */

	if (slot < 0)
		slot = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_ctx_free);
	return slot;
}

static bool extra_read(
	struct tls_context *context, const uint8_t *extra, size_t len, struct err *err)
{
	const unsigned char *at = extra;

	if (!extra)
		return true;
	context->extra = d2i_X509(NULL, &at, (long)len);
	if (context->extra && at == extra + len)
		return true;
	err_set(err, -EINVAL, "the extra certificate is not one certificate in DER");
	return false;
}

struct tls_context *tls_context_new(
	struct tls_provider provider, const uint8_t *extra, size_t extra_len, struct err *err)
{
	struct tls_context *context = calloc(1, sizeof(*context));

	if (!context)
		abort();
	context->refs = 1;
	context->provider = provider;
	if (!extra_read(context, extra, extra_len, err)) {
		context_free(context);
		return NULL;
	}
	context->ctx = tls_library_server();
	if (!context->ctx || !SSL_CTX_set_ex_data(context->ctx, context_slot(), context)) {
		err_set(err, -ENOMEM, "OpenSSL cannot make a context");
		SSL_CTX_free(context->ctx);
		context_free(context);
		return NULL;
	}
	context->first = provider.find(provider.arg, NULL, NULL, 0);
	if (context->first && !use(context->ctx, context->first, context->extra)) {
		err_set(err, -EINVAL, "OpenSSL does not take the certificate and its key: %s",
			ERR_reason_error_string(ERR_peek_last_error()));
		ERR_clear_error();
		SSL_CTX_free(context->ctx);
		return NULL;
	}
	configure(context->ctx);
	SSL_CTX_set_client_hello_cb(context->ctx, choose_certificate, context);
	return context;
}

struct tls_context *tls_context_get(struct tls_context *context)
{
	if (context)
		atomic_fetch_add_explicit(&context->refs, 1, memory_order_relaxed);
	return context;
}

void tls_context_put(struct tls_context *context)
{
	/* acq_rel: the last one sees what the others did */
	if (context && atomic_fetch_sub_explicit(&context->refs, 1, memory_order_acq_rel) == 1)
		SSL_CTX_free(context->ctx);
}

/* ---- connections ---- */

SSL *tls_new(struct tls_context *context, int fd)
{
	SSL *tls = SSL_new(context->ctx);

	if (tls && tls_socket_set(tls, fd)) {
		SSL_set_accept_state(tls);
		return tls;
	}
	SSL_free(tls);
	return NULL;
}

int tls_accept(SSL *tls)
{
	int rc = tls_socket_shake(tls);
	int why = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(tls, rc);

	ERR_clear_error();
	switch (why) {
	case SSL_ERROR_NONE:
		return 0;
	case SSL_ERROR_WANT_READ:
		return EV_READ;
	case SSL_ERROR_WANT_WRITE:
		return EV_WRITE;
	default:
		return -EPROTO;
	}
}

bool tls_pending(SSL *tls)
{
	return tls && (SSL_has_pending(tls) || tls_record_is_ahead(tls));
}

void tls_say_goodbye(SSL *tls)
{
	if (tls && SSL_is_init_finished(tls))
		SSL_shutdown(tls);
	ERR_clear_error();
}
