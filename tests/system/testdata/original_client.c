/*
 * A program as those are that were built against the library of the Socket Intents
 * prototype: it asks at /tmp/muacc, takes an answer as that library does
 * (doc/original/wire-protocol.md), and opens its sockets accordingly. Written from
 * the description of the protocol.
 *
 *   original_client ACTION HOST PORT TIMES THREADS [FILE]
 *
 * ACTION 0 asks about a connect, 2 for addresses and then about a connect to the first
 * of them, 4 about a socketconnect, whose host is looked up by the daemon, 7 about a
 * socketchoose: one socket is opened, and used again every further time. Each thread
 * asks TIMES times. With FILE it asks until there is such a file, and asks again where
 * the daemon went away before it answered; of 50 answers it then opens one, as a host
 * has only so many ports.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MAXLEN 16384

enum { EOFTAG = 0, ACTION = 1, SETFILE = 2, CALLS = 3, CTXID = 8, CTXINO = 9, SOCKFD = 10, DOMAIN = 11, TYPE = 12, PROTOCOL = 13, BINDREQ = 19,
	BINDRES = 20, HOST = 33, SERVICE = 34, HINT = 35, RESULT = 36, REMOTE = 37, CURRENT = 38, SUGGESTED = 39 };

static const char *host, *port, *until;
static int action, times;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void wrong(const char *what, int n)
{
	fprintf(stderr, "%s: %d\n", what, n);
	exit(1);
}

struct bytes {
	unsigned char data[MAXLEN];
	size_t len;
};

/* What an answer says, and what the library keeps of a socket in a set. */
struct context {
	int32_t action, fd, domain, type, protocol;
	unsigned char id[16];
	struct sockaddr_storage from, to;
	socklen_t from_len, to_len;
	struct bytes options, result;
};

/* What a thread has. */
struct program {
	int mam; /* -1: not connected */
	unsigned char id[16]; /* of that connection */
	struct bytes message;
	struct context answer, resolved, member;
	int asked;
	int idle; /* the socket of the set, 0: none yet */
};

static void push(struct bytes *m, uint32_t tag, const void *value, int64_t size)
{
	if (m->len + 12 + size >= MAXLEN)
		wrong("a message of too many bytes", (int)m->len);
	memcpy(m->data + m->len, &tag, 4);
	memcpy(m->data + m->len + 4, &size, 8);
	memcpy(m->data + m->len + 12, value, size);
	m->len += 12 + size;
}

static void push_int(struct bytes *m, uint32_t tag, int32_t n) { push(m, tag, &n, 4); }

/* The fields that are always there, up to the protocol. */
static void push_fixed(struct bytes *m, const unsigned char *id, uint64_t ino, int fd, int calls, int domain)
{
	push(m, CTXID, id, 16);
	push(m, CTXINO, &ino, 8);
	push_int(m, SOCKFD, fd);
	push_int(m, CALLS, calls);
	push_int(m, DOMAIN, domain);
	push_int(m, TYPE, SOCK_STREAM);
	push_int(m, PROTOCOL, 0);
}

static void push_names(struct bytes *m)
{
	struct addrinfo hint = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
	push(m, HOST, host, strlen(host) + 1);
	push(m, SERVICE, port, strlen(port) + 1);
	push(m, HINT, &hint, sizeof hint);
}

static void push_member(struct bytes *m, const struct context *c)
{
	struct stat st;
	if (fstat(c->fd, &st) != 0)
		fail("fstat");
	push_int(m, SETFILE, c->fd);
	push_fixed(m, c->id, st.st_ino, c->fd, 0, c->domain);
	push(m, BINDRES, &c->from, c->from_len);
	push(m, REMOTE, &c->to, c->to_len);
	push_names(m);
	push(m, RESULT, c->result.data, c->result.len);
}

static void request(struct program *p, int what)
{
	struct bytes *m = &p->message;
	m->len = 0;
	push_int(m, ACTION, what);
	push_fixed(m, p->id, 0, what == 7 ? 0 : 3, what == 0 ? 0x11 : 0, AF_INET);
	if (what == 0 && action == 2) {
		push(m, REMOTE, &p->resolved.to, p->resolved.to_len);
		push_names(m);
		push(m, RESULT, p->resolved.result.data, p->resolved.result.len);
	} else if (what == 0) {
		struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
		inet_pton(AF_INET, host, &to.sin_addr);
		push(m, REMOTE, &to, sizeof to);
	} else {
		push_names(m);
	}
	if (what == 7 && p->idle != 0)
		push_member(m, &p->member);
	push(m, EOFTAG, "", 0);
}

/* Reads an answer; 0: there is none, as the connection was closed before it. */
static int answer(struct program *p, struct context *a)
{
	static const unsigned char none[16];
	static __thread unsigned char value[MAXLEN];
	size_t total = 0;
	memset(a, 0, sizeof *a);
	a->action = -1;
	for (;;) {
		unsigned char head[12];
		uint32_t tag;
		int64_t size;
		ssize_t got = read(p->mam, head, 12); /* the library does not put a header together */
		if (total == 0 && (got == 0 || (got < 0 && errno == ECONNRESET)))
			return 0;
		if (got != 12)
			wrong("a part of a header", (int)got);
		memcpy(&tag, head, 4);
		memcpy(&size, head + 4, 8);
		total += 12 + size;
		if (size < 0 || total >= MAXLEN)
			wrong("an answer that the library cannot read", (int)size);
		for (int64_t n = 0, r; n < size; n += r)
			if ((r = read(p->mam, value + n, size - n)) <= 0)
				wrong("a part of a value", (int)n);
		switch (tag) {
		case EOFTAG: return 1;
		case ACTION: memcpy(&a->action, value, 4); break;
		case SETFILE:
			if (a->action != 8 || size != 4)
				wrong("a socket in an answer", a->action);
			memcpy(&a->fd, value, 4);
			return 1; /* the rest is not read */
		case CTXID:
			memcpy(a->id, value, 16);
			if (memcmp(p->id, none, 16) != 0 && memcmp(p->id, a->id, 16) != 0)
				wrong("the context of another connection", a->action);
			memcpy(p->id, a->id, 16);
			break;
		case DOMAIN: memcpy(&a->domain, value, 4); break;
		case TYPE: memcpy(&a->type, value, 4); break;
		case PROTOCOL: memcpy(&a->protocol, value, 4); break;
		case BINDRES: memcpy(&a->from, value, a->from_len = size); break;
		case REMOTE: memcpy(&a->to, value, a->to_len = size); break;
		case RESULT: memcpy(a->result.data, value, a->result.len = size); break;
		case SUGGESTED: memcpy(a->options.data, value, a->options.len = size); break;
		case CALLS: case CTXINO: case SOCKFD: case BINDREQ: case HOST: case SERVICE: case HINT: case CURRENT: break;
		default: wrong("an unknown tag, for which the library gives the answer up", (int)tag);
		}
	}
}

static void leave(struct program *p)
{
	if (p->mam >= 0)
		close(p->mam);
	p->mam = -1;
	memset(p->id, 0, 16);
}

/* Asks, and where there may be no daemon for a while, asks until one answers. */
static void ask(struct program *p, int what)
{
	struct sockaddr_un path = { .sun_family = AF_UNIX, .sun_path = "/tmp/muacc" };
	for (;;) {
		if (p->mam < 0) {
			p->mam = socket(AF_UNIX, SOCK_STREAM, 0);
			if (connect(p->mam, (struct sockaddr *)&path, sizeof path) != 0) {
				if (until == NULL)
					fail("/tmp/muacc");
				leave(p);
				poll(NULL, 0, 1);
				continue;
			}
		}
		request(p, what);
		ssize_t sent = send(p->mam, p->message.data, p->message.len, MSG_NOSIGNAL);
		if (sent == (ssize_t)p->message.len && answer(p, &p->answer))
			return;
		if (until == NULL)
			wrong("no answer, of the bytes were sent", (int)sent);
		leave(p);
	}
}

static int open_as(struct context *a)
{
	int s = socket(a->domain, a->type, a->protocol);
	if (s < 0)
		fail("socket");
	for (size_t at = 0; at + 40 <= a->options.len;) {
		int32_t level, name;
		uint64_t value;
		uint32_t size;
		memcpy(&level, a->options.data + at, 4);
		memcpy(&name, a->options.data + at + 4, 4);
		memcpy(&value, a->options.data + at + 8, 8);
		memcpy(&size, a->options.data + at + 16, 4);
		at += 40;
		if (value == 0)
			continue;
		if (level != 300 && setsockopt(s, level, name, a->options.data + at, size) != 0)
			fail("setsockopt");
		at += size;
	}
	if (a->from_len == 0 || a->to_len == 0)
		wrong("no suggestion, or no address", a->action);
	if (bind(s, (struct sockaddr *)&a->from, a->from_len) != 0)
		fail("bind");
	if (connect(s, (struct sockaddr *)&a->to, a->to_len) != 0)
		fail("connect");
	return s;
}

/* The address of the first result, as the library takes it from there. */
static void first_result(struct context *a)
{
	uint32_t len;
	if (a->result.len < 48)
		wrong("a result of bytes", (int)a->result.len);
	memcpy(&len, a->result.data + 16, 4);
	if (len > sizeof a->to || 48 + len > a->result.len)
		wrong("an address of bytes", (int)len);
	memcpy(&a->to, a->result.data + 48, a->to_len = len);
}

static void try_out(struct program *p)
{
	if (until == NULL || p->asked++ % 50 == 0)
		close(open_as(&p->answer));
}

static void once(struct program *p)
{
	struct context *a = &p->answer;
	if (action == 2) {
		ask(p, 2);
		if (a->action != 3)
			wrong("answer to a resolve", a->action);
		first_result(a);
		p->resolved = *a;
		ask(p, 0);
		if (a->action != 1)
			wrong("answer to a connect", a->action);
		try_out(p);
		return;
	}
	ask(p, action);
	if (action == 7 && p->idle != 0) {
		if (a->action != 8 || a->fd != p->idle)
			wrong("answer to a socketchoose with a socket", a->action);
		if (send(p->idle, "again", 5, MSG_NOSIGNAL) != 5)
			fail("the socket that is used again");
	} else if (action == 7) {
		if (a->action != 9)
			wrong("answer to a socketchoose", a->action);
		p->member = *a;
		p->idle = p->member.fd = open_as(a);
	} else {
		if (a->action != action + 1)
			wrong("answer", a->action);
		try_out(p);
	}
	if (action != 0) /* socketconnect and socketchoose connect to the daemon each time */
		leave(p);
}

static void *run(void *unused)
{
	struct program *p = calloc(1, sizeof *p);
	if (p == NULL)
		fail("calloc");
	p->mam = -1;
	for (int i = 0; until != NULL ? access(until, F_OK) != 0 : i < times; i++)
		once(p);
	leave(p);
	free(p);
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t threads[64];
	if (argc < 6 || argc > 7 || atoi(argv[5]) > 64)
		return 2;
	action = atoi(argv[1]), host = argv[2], port = argv[3], times = atoi(argv[4]), until = argv[6];
	int n = atoi(argv[5]);
	for (int i = 0; i < n; i++)
		if (pthread_create(&threads[i], NULL, run, NULL) != 0)
			fail("pthread_create");
	for (int i = 0; i < n; i++)
		if (pthread_join(threads[i], NULL) != 0)
			fail("pthread_join");
	return 0;
}
