/* State, templates, answers, and how members of a request are found. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum Stat { /* order as in spec.COUNTERS */
    REQUESTS, RECEIVES, EMPTY_RECEIVES, RECEIVED, DELETE_CALLS, DELETED, DELETED_TWICE, DELETED_UNKNOWN, RETURNED, SENT,
    READS, EMPTY_READS, READ, READ_AGAIN, REFUSED, IDLE_NS, FIRST_POLL_NS, STARTED_NS, STATS
};
enum Mark { NUMBER = 1, SOURCE = 2, GROUP = 3, STAMP = 4, MILLIS = 5 }; /* control bytes of a template */
enum { FREE, IN_FLIGHT, GONE };                                        /* a message's byte */

typedef struct { char *text; size_t len; } Text;
typedef struct { Text literal[16]; char mark[16]; int pieces; } Template; /* a literal, a mark, a literal ... */
typedef struct Connection {
    int fd, writing, waiting;
    char *in, *out;
    size_t in_len, in_cap, out_len, out_cap, sent;
    int64_t due; /* of a delayed answer */
    int queue, most;
    int64_t until; /* of a long poll */
    struct Connection *next;
} Connection;
typedef struct {
    uint8_t *state;
    uint32_t capacity, next, limit, returned_len, returned_cap, *returned;
    uint32_t *group_next, *ready, ready_head, ready_len;
    Connection *first, *last; /* who waits */
} Queue;

static int queues = 1, shards = 0, streams = 1, groups = 0, latency_us = 0, server_fd, timer_fd, poll_fd;
static uint32_t messages = 0, records = 0;
static double rate = 0, start_after = 0;
static Template message_templates[16], record_templates[16], item_templates[16];
static int message_kinds, record_kinds, item_kinds;
static Queue *queue_of;
static uint32_t *high_water;
static volatile uint64_t *stat;
static char *scratch;
static size_t scratch_len, scratch_cap;
static Connection *delayed_first, *delayed_last;
static int64_t now, rate_began = -1, armed, next_until = INT64_MAX;
static uint64_t sent_stamps[4096];
static volatile sig_atomic_t stopping;

#define HEAD_ROOM 256 /* the head of an answer is written in front of its body once its length is known */

static int64_t clock_ns(clockid_t which) {
    struct timespec t;
    clock_gettime(which, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void *grown(void *p, size_t size) {
    if (!(p = realloc(p, size))) exit(71);
    return p;
}

/* --- answers */

static void reserve(size_t more) {
    if (scratch_len + more > scratch_cap) scratch = grown(scratch, scratch_cap = (scratch_len + more) * 2);
}

static void put(const char *text, size_t len) {
    reserve(len);
    memcpy(scratch + scratch_len, text, len);
    scratch_len += len;
}

static void put_text(const char *text) { put(text, strlen(text)); }

static void put_digits(uint64_t value, int width) {
    reserve(width);
    for (int n = width - 1; n >= 0; n--, value /= 10) scratch[scratch_len + n] = '0' + value % 10;
    scratch_len += width;
}

static uint64_t stamp_of(uint32_t number) { /* when a message came to be, monotonic nanoseconds */
    if (rate > 0 && number < messages) return rate_began + (int64_t)(number * 1e9 / rate);
    return number >= messages ? sent_stamps[number % 4096] : (uint64_t)now;
}

static void put_template(const Template *t, uint32_t number, int source, int group, uint64_t stamp, uint64_t millis) {
    for (int n = 0; n < t->pieces; n++) {
        put(t->literal[n].text, t->literal[n].len);
        switch (t->mark[n]) {
        case NUMBER: put_digits(number, 12); break;
        case SOURCE: put_digits(source, 4); break;
        case GROUP: put_digits(group, 4); break;
        case STAMP: put_digits(stamp, 20); break;
        case MILLIS: put_digits(millis, 13); break;
        }
    }
}

static void begin(void) { scratch_len = HEAD_ROOM; }

static void watch(Connection *c) {
    struct epoll_event e = {.events = EPOLLIN | (c->writing ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

static void keep(Connection *c, const char *text, size_t len) {
    if (c->out_cap < len) c->out = grown(c->out, c->out_cap = len);
    memcpy(c->out, text, len);
    c->out_len = len;
    c->sent = 0;
}

static void close_down(Connection *c) { /* freed by whoever still lists it, or by the main loop */
    close(c->fd);
    c->fd = -1;
}

static void write_out(Connection *c) {
    while (c->sent < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->sent, c->out_len - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            if (!c->writing) { c->writing = 1; watch(c); }
            return;
        }
        if (n <= 0) { close_down(c); return; }
        c->sent += n;
    }
    c->out_len = 0;
    if (c->writing) { c->writing = 0; watch(c); }
}

static void answer(Connection *c, int status, const char *more) {
    char head[HEAD_ROOM];
    size_t body = scratch_len - HEAD_ROOM;
    int len = snprintf(head, sizeof head,
                       "HTTP/1.1 %s\r\nx-amzn-RequestId: 00000000-0000-4000-8000-%012llu\r\n"
                       "Content-Type: application/x-amz-json-1.0\r\n%sContent-Length: %zu\r\n\r\n",
                       status == 200 ? "200 OK" : "400 Bad Request", (unsigned long long)stat[REQUESTS], more, body);
    char *from = scratch + HEAD_ROOM - len;
    memcpy(from, head, len);
    if (latency_us) {
        keep(c, from, len + body);
        c->due = now + latency_us * 1000LL;
        c->next = NULL;
        if (delayed_last) delayed_last->next = c; else delayed_first = c;
        delayed_last = c;
        return;
    }
    ssize_t n = send(c->fd, from, len + body, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) { close_down(c); return; }
    if (n < 0) n = 0;
    if ((size_t)n < len + body) {
        keep(c, from + n, len + body - n);
        write_out(c);
    }
}

static void refuse(Connection *c, const char *type, const char *query_error) {
    char more[160] = "";
    stat[REFUSED]++;
    if (*query_error) snprintf(more, sizeof more, "x-amzn-query-error: %s\r\n", query_error);
    begin();
    put_text("{\"__type\":\"");
    put_text(type);
    put_text("\",\"message\":\"refused by the fake\"}");
    answer(c, 400, more);
}

/* --- requests: no JSON parser, members are found by their names */

static char *member(char *body, const char *name) {
    char *at = body;
    size_t len = strlen(name);
    while ((at = strstr(at, name))) {
        char *value = at + len;
        if (at > body && at[-1] == '"' && *value == '"') {
            for (value++; *value == ' ' || *value == ':'; value++);
            return value;
        }
        at = value;
    }
    return NULL;
}

static long number_member(char *body, const char *name, long missing) {
    char *at = member(body, name);
    return at ? atol(at) : missing;
}

static long number_after(char *text, char mark) { /* of a name such as q0007: the digits after the last mark */
    char *end = strchr(text + 1, '"'), *at = end;
    while (at && at > text && !(*at == mark && isdigit((unsigned char)at[1]))) at--;
    return at && at > text ? atol(at + 1) : -1;
}

static int queue_number(char *body, const char *name) {
    char *at = member(body, name);
    long n = at ? number_after(at, 'q') : -1;
    return n < queues ? (int)n : -1;
}

/* --- templates */

static int read_templates(const char *folder, const char *name, Template *into) { /* one on each line */
    char path[4096], *line = NULL;
    size_t cap = 0;
    int count = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "r");
    if (!f) return 0;
    while (count < 16 && getline(&line, &cap, f) > 0) {
        Template *t = &into[count++];
        line[strcspn(line, "\n")] = 0;
        for (char *from = strdup(line), *end = from; t->pieces < 16 && *from; from = end + 1) {
            end = from + strcspn(from, "\1\2\3\4\5");
            t->mark[t->pieces] = *end;
            t->literal[t->pieces++] = (Text){from, end - from};
            if (!*end) break;
        }
    }
    free(line);
    fclose(f);
    return count;
}
