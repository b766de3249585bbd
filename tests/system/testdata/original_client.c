/*
 * A program as those are that were built against the library of the Socket Intents
 * prototype: it asks at /tmp/muacc, takes an answer as that library does
 * (doc/original/wire-protocol.md), and opens its sockets accordingly. Written from
 * the description of the protocol.
 *
 *   original_client ACTION HOST PORT TIMES
 *
 * ACTION 0 asks about a connect, 4 about a socketconnect, whose host is looked up by
 * the daemon. TIMES requests go over one connection, each followed by a connection.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAXLEN 16384

enum { EOFTAG = 0, ACTION = 1, CALLS = 3, CTXID = 8, CTXINO = 9, SOCKFD = 10, DOMAIN = 11, TYPE = 12, PROTOCOL = 13, BINDREQ = 19, BINDRES = 20,
	HOST = 33, SERVICE = 34, HINT = 35, RESULT = 36, REMOTE = 37, CURRENT = 38, SUGGESTED = 39 };

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static unsigned char message[MAXLEN];
static size_t used;

static void push(uint32_t tag, const void *value, int64_t size)
{
	if (used + 12 + size >= MAXLEN)
		fail("too long");
	memcpy(message + used, &tag, 4);
	memcpy(message + used + 4, &size, 8);
	memcpy(message + used + 12, value, size);
	used += 12 + size;
}

static void push_int(uint32_t tag, int32_t n) { push(tag, &n, 4); }

static unsigned char id[16];

static void request(int mam, int action, const char *host, const char *port)
{
	uint64_t ino = 0;
	used = 0;
	push_int(ACTION, action);
	push(CTXID, id, 16);
	push(CTXINO, &ino, 8);
	push_int(SOCKFD, 3);
	push_int(CALLS, action == 0 ? 0x11 : 0);
	push_int(DOMAIN, AF_INET);
	push_int(TYPE, SOCK_STREAM);
	push_int(PROTOCOL, 0);
	if (action == 0) {
		struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
		inet_pton(AF_INET, host, &to.sin_addr);
		push(REMOTE, &to, sizeof to);
	} else {
		struct addrinfo hint = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
		push(HOST, host, strlen(host) + 1);
		push(SERVICE, port, strlen(port) + 1);
		push(HINT, &hint, sizeof hint);
	}
	push(EOFTAG, "", 0);
	if (send(mam, message, used, 0) != (ssize_t)used)
		fail("send");
}

struct answer {
	int32_t action, domain, type, protocol;
	struct sockaddr_storage from, to;
	socklen_t from_len, to_len;
	unsigned char options[MAXLEN];
	size_t options_len;
};

static void answer(int mam, struct answer *a)
{
	static unsigned char value[MAXLEN];
	size_t total = 0;
	memset(a, 0, sizeof *a);
	for (;;) {
		unsigned char head[12];
		uint32_t tag;
		int64_t size;
		if (read(mam, head, 12) != 12) /* the library does not put a header together */
			fail("header");
		memcpy(&tag, head, 4);
		memcpy(&size, head + 4, 8);
		total += 12 + size;
		if (size < 0 || total >= MAXLEN)
			fail("an answer that the library cannot read");
		for (int64_t n = 0, r; n < size; n += r)
			if ((r = read(mam, value + n, size - n)) <= 0)
				fail("value");
		switch (tag) {
		case EOFTAG: return;
		case ACTION: memcpy(&a->action, value, 4); break;
		case CTXID: memcpy(id, value, 16); break;
		case DOMAIN: memcpy(&a->domain, value, 4); break;
		case TYPE: memcpy(&a->type, value, 4); break;
		case PROTOCOL: memcpy(&a->protocol, value, 4); break;
		case BINDRES: memcpy(&a->from, value, a->from_len = size); break;
		case REMOTE: memcpy(&a->to, value, a->to_len = size); break;
		case SUGGESTED: memcpy(a->options, value, a->options_len = size); break;
		case CALLS: case CTXINO: case SOCKFD: case BINDREQ: case HOST: case SERVICE: case HINT: case RESULT: case CURRENT: break;
		default: /* one unknown tag, and the library gives the answer up */
			fprintf(stderr, "unknown tag %u\n", tag);
			exit(1);
		}
	}
}

static void open_as(struct answer *a)
{
	int s = socket(a->domain, a->type, a->protocol);
	if (s < 0)
		fail("socket");
	for (size_t at = 0; at + 40 <= a->options_len;) {
		int32_t level, name;
		uint64_t value;
		uint32_t size;
		memcpy(&level, a->options + at, 4);
		memcpy(&name, a->options + at + 4, 4);
		memcpy(&value, a->options + at + 8, 8);
		memcpy(&size, a->options + at + 16, 4);
		at += 40;
		if (value == 0)
			continue;
		if (level != 300 && setsockopt(s, level, name, a->options + at, size) != 0)
			fail("setsockopt");
		at += size;
	}
	if (a->from_len == 0 || a->to_len == 0) {
		fprintf(stderr, "no suggestion, or no address\n");
		exit(1);
	}
	if (bind(s, (struct sockaddr *)&a->from, a->from_len) != 0)
		fail("bind");
	if (connect(s, (struct sockaddr *)&a->to, a->to_len) != 0)
		fail("connect");
	close(s);
}

int main(int argc, char **argv)
{
	struct sockaddr_un path = { .sun_family = AF_UNIX, .sun_path = "/tmp/muacc" };
	static struct answer a;
	if (argc != 5)
		return 2;
	int mam = socket(AF_UNIX, SOCK_STREAM, 0), action = atoi(argv[1]);
	if (connect(mam, (struct sockaddr *)&path, sizeof path) != 0)
		fail("/tmp/muacc");
	for (int i = 0; i < atoi(argv[4]); i++) {
		request(mam, action, argv[2], argv[3]);
		answer(mam, &a);
		if (a.action != action + 1) {
			fprintf(stderr, "answer %d\n", a.action);
			return 1;
		}
		open_as(&a);
	}
	return 0;
}
