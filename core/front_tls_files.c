/* SPDX-License-Identifier: BSD-3-Clause */
/* Certificates from PEM files: the first provider. Runs on: the control loop; `find` on I/O loops.
 */
#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <tailplane/state.h>

#include "front_tls.h"

struct files {
	size_t n;
	struct tls_certificate certs[];
};

static const struct tls_certificate *files_find(
	void *arg, const char *name, const uint8_t *alpn, size_t alpn_len)
{
	const struct files *files = arg;

	(void)alpn, (void)alpn_len;
	if (!name)
		return &files->certs[0];
	for (size_t i = 0; i < files->n; i++) {
		if (X509_check_host(files->certs[i].leaf, name, 0, 0, NULL) == 1)
			return &files->certs[i];
	}
	return NULL;
}

static void files_free(void *arg)
{
	struct files *files = arg;

	for (size_t i = 0; i < files->n; i++) {
		X509_free(files->certs[i].leaf);
		EVP_PKEY_free(files->certs[i].key);
		sk_X509_pop_free(files->certs[i].chain, X509_free);
	}
	free(files);
}

/* Whoever made it is root, mostly, and we are not: what is in the way is it, or a folder. */
static int unreadable(
	const char *what, const char *path, const char *full, int error, struct err *err)
{
	const struct group *group = error == EACCES ? getgrgid(getegid()) : NULL;
	char at[PATH_MAX];
	bool closed;

	if (!group)
		return err_set(err, -EIO, "cannot read the %s %s: %s", what, path, strerror(error));
	/* on failure `at` is what could not be looked at: its folder is closed */
	closed = !realpath(full, at) && errno == EACCES;
	full = closed ? dirname(at) : full;
	return err_set(err, -EIO, "cannot read the %s %s: %s; type: chgrp %s %s && chmod %s %s",
		what, path, strerror(error), group->gr_name, full, closed ? "g+x" : "640", full);
}

static int read_chain(struct tls_certificate *cert, const char *path, struct err *err)
{
	char *full = state_path(path);
	BIO *in = full ? BIO_new_file(full, "r") : NULL;
	X509 *one;
	bool broken;
	int rc = in ? 0 : unreadable("certificate", path, full, full ? errno : ENOMEM, err);

	free(full);
	if (rc)
		return rc;
	cert->leaf = PEM_read_bio_X509(in, NULL, NULL, NULL);
	cert->chain = sk_X509_new_null();
	while (cert->leaf && cert->chain && (one = PEM_read_bio_X509(in, NULL, NULL, NULL)))
		sk_X509_push(cert->chain, one);
	/* the file's end says that no other one begins */
	broken = ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE;
	BIO_free(in);
	ERR_clear_error();
	if (!cert->leaf || !cert->chain)
		return err_set(err, -EINVAL, "%s: no certificate in PEM is in it", path);
	if (broken)
		return err_set(err, -EINVAL, "%s: certificate %d in it cannot be read", path,
			sk_X509_num(cert->chain) + 2);
	return 0;
}

static int no_passphrase(char *buf, int size, int writing, void *arg)
{
	(void)buf, (void)size, (void)writing, (void)arg;
	return -1;
}

static int read_key(struct tls_certificate *cert, const char *path, struct err *err)
{
	char *full = state_path(path);
	BIO *in = full ? BIO_new_file(full, "r") : NULL;
	struct stat st;
	int rc = 0;

	if (!in)
		rc = unreadable("private key", path, full, full ? errno : ENOMEM, err);
	else if (stat(full, &st) == 0 && (st.st_mode & S_IROTH))
		rc = err_set(err, -EPERM,
			"%s is a private key that everybody can read; type: chmod o-rwx %s", path,
			full);
	else
		cert->key = PEM_read_bio_PrivateKey(in, NULL, no_passphrase, NULL);
	if (!rc && !cert->key)
		rc = err_set(err, -EINVAL, "%s: no private key in PEM without passphrase is in it",
			path);
	BIO_free(in);
	free(full);
	ERR_clear_error();
	return rc;
}

/* Handshakes find out too late, for those that are not the first. */
static int try_pair(const struct tls_certificate *cert, const char *path, struct err *err)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	int rc = 0;

	if (!ctx || SSL_CTX_use_cert_and_key(ctx, cert->leaf, cert->key, cert->chain, 1) != 1)
		rc = err_set(err, -EINVAL, "%s: OpenSSL does not take the certificate: %s", path,
			ERR_reason_error_string(ERR_peek_last_error()));
	SSL_CTX_free(ctx);
	ERR_clear_error();
	return rc;
}

static int read_pair(struct tls_certificate *cert, const struct tls_files *pair, struct err *err)
{
	int rc = read_chain(cert, pair->cert_path, err);

	if (!rc)
		rc = read_key(cert, pair->key_path, err);
	if (!rc && X509_check_private_key(cert->leaf, cert->key) != 1) {
		ERR_clear_error();
		rc = err_set(err, -EINVAL, "%s is not the key of the certificate %s",
			pair->key_path, pair->cert_path);
	}
	return rc ? rc : try_pair(cert, pair->cert_path, err);
}

int tls_files_provider(
	struct tls_provider *provider, const struct tls_files *files, size_t n, struct err *err)
{
	struct files *read = calloc(1, sizeof(*read) + n * sizeof(read->certs[0]));
	int rc = 0;

	if (!read)
		abort();
	read->n = n;
	for (size_t i = 0; !rc && i < n; i++)
		rc = read_pair(&read->certs[i], &files[i], err);
	if (rc) {
		files_free(read);
		return rc;
	}
	*provider = (struct tls_provider){files_find, files_free, read};
	return 0;
}
