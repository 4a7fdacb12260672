/* SPDX-License-Identifier: BSD-3-Clause */
/* Control loop, but for the job. */
#include "authorities.h"

#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>
#include <openssl/err.h>
#include <tailplane/jobs.h>
#include <tailplane/loop.h>

#define FRESH_NS 60000000000ull

struct reading {
	struct job job;
	struct authorities *authorities; /* NULL: nobody waits any more */
	X509_STORE *store;
	char *file, *folder; /* NULL: none */
};

static char *copy_of(const char *text)
{
	return text ? strdup(text) : NULL;
}

static void reading_free(struct reading *reading)
{
	X509_STORE_free(reading->store);
	free(reading->file);
	free(reading->folder);
	free(reading);
}

/* As libcurl does it. The folder's are found when they are asked for. */
static X509_STORE *read_all(const char *file, const char *folder)
{
	X509_STORE *store = X509_STORE_new();

	if (store && (!file || X509_STORE_load_file(store, file)) &&
		(!folder || X509_STORE_load_path(store, folder)) &&
		X509_STORE_set_flags(store, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN))
		return store;
	X509_STORE_free(store);
	ERR_clear_error();
	return NULL;
}

static void read_run(struct job *job)
{
	struct reading *reading = (struct reading *)job;

	reading->store = read_all(reading->file, reading->folder);
}

static void read_done(struct job *job)
{
	struct reading *reading = (struct reading *)job;
	struct authorities *authorities = reading->authorities;

	if (authorities) {
		X509_STORE_free(authorities->store);
		authorities->store = reading->store;
		authorities->read_at = core_now();
		authorities->reading = NULL;
		reading->store = NULL;
	}
	reading_free(reading);
	if (authorities)
		authorities->ready(authorities->arg);
}

static void read_start(struct authorities *authorities)
{
	const char *own = getenv("SSL_CERT_FILE"), *file = NULL, *folder = NULL;
	struct reading *reading = calloc(1, sizeof(*reading));
	CURL *easy = curl_easy_init();

	if (!reading || !easy)
		abort();
	/* where libcurl was built to look */
	curl_easy_getinfo(easy, CURLINFO_CAINFO, &file);
	curl_easy_getinfo(easy, CURLINFO_CAPATH, &folder);
	reading->file = copy_of(own ? own : file);
	reading->folder = copy_of(folder);
	curl_easy_cleanup(easy);
	reading->job = (struct job){.run = read_run, .done = read_done, .name = "authorities"};
	reading->authorities = authorities;
	authorities->reading = reading;
	job_submit(&reading->job);
}

bool authorities_fresh(struct authorities *authorities)
{
	if (authorities->read_at && core_now() - authorities->read_at < FRESH_NS)
		return true;
	if (!authorities->reading)
		read_start(authorities);
	return false;
}

void authorities_init(struct authorities *authorities, void (*ready)(void *arg), void *arg)
{
	*authorities = (struct authorities){.ready = ready, .arg = arg};
}

void authorities_fini(struct authorities *authorities)
{
	if (authorities->reading)
		authorities->reading->authorities = NULL;
	X509_STORE_free(authorities->store);
}
