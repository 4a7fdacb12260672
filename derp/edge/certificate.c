/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs on: the control loop in start, jobs. */
#include "certificate.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include <tailplane/net.h>
#include <tailplane/state.h>

#define DAY 86400
#define LASTS (397 * DAY)
#define RENEW_BEFORE (30 * DAY)
#define CLOCKS_DIFFER DAY
#define PEM_MAX 16384
#define SERIAL_BYTES 16

static bool is_address(const char *host)
{
	struct net_addr addr;

	return net_addr_parse(&addr, host) == 0;
}

bool certificate_host_valid(const char *host)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789.-";
	size_t len = strlen(host);

	return is_address(host) ||
	       (len && len <= CERTIFICATE_HOST_MAX && strspn(host, letters) == len);
}

/* ---- reading ---- */

static bool is_for(X509 *x509, const char *host)
{
	return is_address(host) ? X509_check_ip_asc(x509, host, 0) == 1
				: X509_check_host(x509, host, 0, 0, NULL) == 1;
}

static bool lasts(X509 *x509, time_t now, time_t *ends)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(X509_get0_notAfter(x509), &tm) != 1)
		return false;
	*ends = timegm(&tm);
	return *ends - now > RENEW_BEFORE && X509_cmp_time(X509_get0_notBefore(x509), &now) < 0;
}

static bool pin_of(X509 *x509, char pin[static 65])
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned len;

	if (X509_digest(x509, EVP_sha256(), hash, &len) != 1)
		return false;
	for (unsigned i = 0; i < len; i++)
		snprintf(pin + 2 * i, 3, "%02x", hash[i]);
	return true;
}

static X509 *read_certificate(const char *path)
{
	char pem[PEM_MAX];
	ssize_t n = state_read(path, pem, sizeof(pem), NULL);
	BIO *in = n > 0 ? BIO_new_mem_buf(pem, (int)n) : NULL;
	X509 *x509 = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;

	BIO_free(in);
	return x509;
}

static EVP_PKEY *read_key(const char *path)
{
	char pem[PEM_MAX];
	ssize_t n = state_read_secret(path, pem, sizeof(pem), NULL);
	BIO *in = n > 0 ? BIO_new_mem_buf(pem, (int)n) : NULL;
	EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, NULL, (void *)"") : NULL;

	BIO_free(in);
	OPENSSL_cleanse(pem, sizeof(pem));
	return key;
}

bool certificate_read(const char *cert_path, const char *key_path, const char *host, time_t now,
	struct certificate *cert)
{
	X509 *x509 = read_certificate(cert_path);
	EVP_PKEY *key = x509 ? read_key(key_path) : NULL;
	bool good;

	*cert = (struct certificate){.made = false};
	good = key && X509_check_private_key(x509, key) == 1 && (!host || is_for(x509, host)) &&
	       lasts(x509, now, &cert->ends) && pin_of(x509, cert->pin);
	X509_free(x509);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return good;
}

/* ---- making ---- */

static bool add_extension(X509 *x509, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
	bool done = extension && X509_add_ext(x509, extension, -1) == 1;

	X509_EXTENSION_free(extension);
	return done;
}

static bool set_serial(X509 *x509)
{
	unsigned char bytes[SERIAL_BYTES];
	BIGNUM *number = NULL;
	bool done;

	done = RAND_bytes(bytes, sizeof(bytes)) == 1;
	bytes[0] &= 0x7f; /* positive, as RFC 5280 wants it */
	number = done ? BN_bin2bn(bytes, sizeof(bytes), NULL) : NULL;
	done = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509));
	BN_free(number);
	return done;
}

static bool fill(X509 *x509, EVP_PKEY *key, const char *host, time_t now)
{
	X509_NAME *name = X509_get_subject_name(x509);
	char san[CERTIFICATE_HOST_MAX + 8];

	snprintf(san, sizeof(san), "%s:%s", is_address(host) ? "IP" : "DNS", host);
	return X509_set_version(x509, 2) == 1 && set_serial(x509) &&
	       ASN1_TIME_set(X509_getm_notBefore(x509), now - CLOCKS_DIFFER) &&
	       ASN1_TIME_set(X509_getm_notAfter(x509), now + LASTS) &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
		       (const unsigned char *)"Tailplane relay", -1, -1, 0) == 1 &&
	       X509_set_issuer_name(x509, name) == 1 && X509_set_pubkey(x509, key) == 1 &&
	       add_extension(x509, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_extension(x509, NID_key_usage, "critical,digitalSignature") &&
	       add_extension(x509, NID_ext_key_usage, "serverAuth") &&
	       add_extension(x509, NID_subject_alt_name, san) &&
	       X509_sign(x509, key, EVP_sha256()) > 0;
}

static int write_bio(BIO *out, const char *path, mode_t mode, struct err *err)
{
	char *bytes;
	long len = BIO_get_mem_data(out, &bytes);

	return state_write(path, bytes, (size_t)len, mode, err);
}

/* The key first: a pair that does not match is made again. */
static int write_pair(
	X509 *x509, EVP_PKEY *key, const char *cert_path, const char *key_path, struct err *err)
{
	BIO *key_pem = BIO_new(BIO_s_secmem()), *cert_pem = BIO_new(BIO_s_mem());
	int rc = -ENOMEM;

	if (key_pem && cert_pem &&
		PEM_write_bio_PrivateKey(key_pem, key, NULL, NULL, 0, NULL, NULL) == 1 &&
		PEM_write_bio_X509(cert_pem, x509) == 1)
		rc = write_bio(key_pem, key_path, 0600, err);
	if (!rc)
		rc = write_bio(cert_pem, cert_path, 0644, err);
	BIO_free(key_pem);
	BIO_free(cert_pem);
	return rc;
}

static int make_pair(const char *cert_path, const char *key_path, const char *host, time_t now,
	struct certificate *cert, struct err *err)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x509 = key ? X509_new() : NULL;
	int rc = -ENOMEM;

	if (x509 && fill(x509, key, host, now) && pin_of(x509, cert->pin))
		rc = write_pair(x509, key, cert_path, key_path, err);
	cert->ends = now + LASTS;
	cert->made = true;
	X509_free(x509);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return rc ? err_set(err, rc, "OpenSSL cannot make a certificate for %s", host) : 0;
}

int certificate_ensure(const char *cert_path, const char *key_path, const char *host, time_t now,
	struct certificate *cert, struct err *err)
{
	if (!certificate_host_valid(host))
		return err_set(err, -EINVAL, "\"%s\" is neither a name nor an address", host);
	if (certificate_read(cert_path, key_path, host, now, cert))
		return 0;
	return make_pair(cert_path, key_path, host, now, cert, err);
}
