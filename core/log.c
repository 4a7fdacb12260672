/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log lines on their way to stderr. Any thread but a worker puts them into a bounded queue; the
 * log's own thread writes. A terminal that does not take them costs lines, which are counted, and
 * never time on the loop.
 */
#include "log_thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define QUEUE_MAX 4096
#define LINE_BYTES 1024
#define STOP_SECONDS 2

const char *const log_level_names[] = {
	[LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
	NULL,
};

struct line {
	struct line *next;
	struct timespec at;
	enum log_level level;
	bool present; /* for stdout, as it is */
	size_t len;
	char text[];
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct line *head, **tail; /* guarded by lock, as are the next three */
	unsigned length;
	uint64_t lost;
	bool stopping;
	bool threaded; /* written by the main thread, before others and after them */
	pthread_t thread;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER};

static _Atomic int threshold = LOG_LEVEL_INFO; /* a hint for all threads: relaxed, no partner */

void log_level_set(enum log_level level)
{
	atomic_store_explicit(&threshold, level, memory_order_relaxed);
}

enum log_level log_level_get(void)
{
	return (enum log_level)atomic_load_explicit(&threshold, memory_order_relaxed);
}

/* ---- writing: the log's thread, or the caller while there is none ---- */

/* JOURNAL_STREAM names the socket that systemd gave us as stderr; inherited by a shell that
 * redirects, it says nothing about our own. */
static bool is_journal(int fd)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && fstat(fd, &st) == 0 &&
	       st.st_dev == dev && st.st_ino == ino;
}

static void write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno != EINTR)
			return;
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
	}
}

static size_t prefix_time(char *buf, size_t size, const struct timespec *at, bool short_form)
{
	struct tm tm;
	size_t n;

	if (short_form)
		n = strftime(buf, size, "%H:%M:%S", localtime_r(&at->tv_sec, &tm));
	else
		n = strftime(buf, size, "%Y-%m-%dT%H:%M:%S", gmtime_r(&at->tv_sec, &tm));
	return n + (size_t)snprintf(buf + n, size - n, ".%03ld%s", at->tv_nsec / 1000000,
			   short_form ? "" : "Z");
}

static void write_line(const struct line *line)
{
	static const int syslog_level[] = {4, 6, 7};
	static const char *const colour[] = {"\033[33m", "", "\033[2m"};
	char out[LINE_BYTES + 128];
	size_t n = 0;

	if (is_journal(STDERR_FILENO)) {
		n = (size_t)snprintf(out, sizeof(out), "<%d>", syslog_level[line->level]);
	} else {
		bool tty = isatty(STDERR_FILENO) && !getenv("NO_COLOR");

		n = prefix_time(out, sizeof(out), &line->at, isatty(STDERR_FILENO));
		n += (size_t)snprintf(out + n, sizeof(out) - n, " %s%-5s%s ",
			tty ? colour[line->level] : "", log_level_names[line->level],
			tty && *colour[line->level] ? "\033[0m" : "");
	}
	memcpy(out + n, line->text, line->len);
	out[n + line->len] = '\n';
	write_all(STDERR_FILENO, out, n + line->len + 1);
}

/* A person is behind a terminal, or behind a pipe that they set up; a file or the journal keeps
 * what was meant to be seen once. */
static bool somebody_reads(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (isatty(fd) || S_ISFIFO(st.st_mode));
}

static void write_out(struct line *line)
{
	static const char hidden[] = "a text for the terminal was not written: standard output is "
				     "neither a terminal nor a pipe";

	if (!line->present) {
		write_line(line);
	} else if (somebody_reads(STDOUT_FILENO)) {
		write_all(STDOUT_FILENO, line->text, line->len);
	} else {
		struct line *note = calloc(1, sizeof(*note) + sizeof(hidden));

		if (note) {
			note->at = line->at;
			note->len = sizeof(hidden) - 1;
			memcpy(note->text, hidden, sizeof(hidden));
			write_line(note);
			free(note);
		}
	}
	if (line->present)
		explicit_bzero(line->text, line->len);
	free(line);
}

static void write_lost(uint64_t lost)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "log: %llu lines lost\n", (unsigned long long)lost);

	write_all(STDERR_FILENO, text, (size_t)n);
}

static void *log_thread(void *arg)
{
	uint64_t told = 0;

	(void)arg;
	pthread_mutex_lock(&queue.lock);
	while (queue.head || !queue.stopping) {
		struct line *line = queue.head;
		uint64_t lost = queue.lost;

		if (!line) {
			pthread_cond_wait(&queue.filled, &queue.lock);
			continue;
		}
		queue.head = line->next;
		if (!queue.head)
			queue.tail = &queue.head;
		queue.length--;
		pthread_mutex_unlock(&queue.lock);
		write_out(line);
		if (lost != told)
			write_lost(lost - told);
		told = lost;
		pthread_mutex_lock(&queue.lock);
	}
	pthread_mutex_unlock(&queue.lock);
	return NULL;
}

void log_thread_start(void)
{
	sigset_t all, before;
	int rc;

	queue.tail = &queue.head;
	queue.stopping = false;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&queue.thread, NULL, log_thread, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		fatalx("cannot start the log's thread: %s", strerror(rc));
	pthread_setname_np(queue.thread, "log");
	queue.threaded = true;
}

void log_thread_stop(void)
{
	struct timespec until;

	if (!queue.threaded)
		return;
	pthread_mutex_lock(&queue.lock);
	queue.stopping = true;
	pthread_cond_signal(&queue.filled);
	pthread_mutex_unlock(&queue.lock);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_SECONDS;
	if (pthread_timedjoin_np(queue.thread, NULL, &until) == 0)
		queue.threaded = false;
	/* else it hangs in write(): it ends with the process, and whoever logs now loses lines */
}

uint64_t log_lost(void)
{
	uint64_t lost;

	pthread_mutex_lock(&queue.lock);
	lost = queue.lost;
	pthread_mutex_unlock(&queue.lock);
	return lost;
}

/* ---- logging: any thread but a worker ---- */

static void post(struct line *line)
{
	bool full;

	clock_gettime(CLOCK_REALTIME, &line->at);
	if (!queue.threaded) {
		write_out(line);
		return;
	}
	pthread_mutex_lock(&queue.lock);
	full = queue.length >= QUEUE_MAX;
	if (full) {
		queue.lost++;
	} else {
		*queue.tail = line;
		queue.tail = &line->next;
		queue.length++;
		pthread_cond_signal(&queue.filled);
	}
	pthread_mutex_unlock(&queue.lock);
	if (full) {
		explicit_bzero(line->text, line->len);
		free(line);
	}
}

/* What a stranger sent may be in a line: it moves no cursor and begins no line of its own. */
static size_t make_plain(char *out, size_t size, const char *text)
{
	size_t n = 0;

	for (; *text && n + 5 < size; text++) {
		unsigned char c = (unsigned char)*text;

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			n += (size_t)snprintf(out + n, size - n, "\\x%02x", c);
		else
			out[n++] = (char)c;
	}
	return n;
}

static void __attribute__((format(printf, 3, 0)))
post_v(enum log_level level, int error, const char *fmt, va_list args)
{
	struct line *line;
	char text[LINE_BYTES];
	int n;

	if (level > log_level_get())
		return;
	n = vsnprintf(text, sizeof(text), fmt, args);
	if (error && n >= 0 && (size_t)n < sizeof(text))
		snprintf(text + n, sizeof(text) - (size_t)n, ": %s", strerror(error));
	line = calloc(1, sizeof(*line) + LINE_BYTES);
	if (!line)
		return;
	line->level = level;
	line->len = make_plain(line->text, LINE_BYTES, text);
	post(line);
}

void log_warn(const char *fmt, ...)
{
	int error = errno;
	va_list args;

	va_start(args, fmt);
	post_v(LOG_LEVEL_WARN, error, fmt, args);
	va_end(args);
	errno = error;
}

void log_warnx(const char *fmt, ...)
{
	int error = errno;
	va_list args;

	va_start(args, fmt);
	post_v(LOG_LEVEL_WARN, 0, fmt, args);
	va_end(args);
	errno = error;
}

void log_info(const char *fmt, ...)
{
	int error = errno;
	va_list args;

	va_start(args, fmt);
	post_v(LOG_LEVEL_INFO, 0, fmt, args);
	va_end(args);
	errno = error;
}

void log_debug(const char *fmt, ...)
{
	int error = errno;
	va_list args;

	va_start(args, fmt);
	post_v(LOG_LEVEL_DEBUG, 0, fmt, args);
	va_end(args);
	errno = error;
}

void log_present(const char *text)
{
	size_t len = strlen(text);
	struct line *line = calloc(1, sizeof(*line) + len);

	if (!line)
		return;
	line->present = true;
	line->len = len;
	memcpy(line->text, text, len);
	post(line);
}

void fatal(const char *fmt, ...)
{
	int error = errno;
	va_list args;

	va_start(args, fmt);
	post_v(LOG_LEVEL_WARN, error, fmt, args);
	va_end(args);
	log_thread_stop();
	exit(1);
}

void fatalx(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	post_v(LOG_LEVEL_WARN, 0, fmt, args);
	va_end(args);
	log_thread_stop();
	exit(1);
}
