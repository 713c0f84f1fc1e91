/* fake_aws: canned SQS, Kinesis and DynamoDB Streams over HTTP, so quick that a benchmark is about its client.
 *
 * One thread, epoll. An answer is spliced from templates (see `spec.py`, which writes them): literal text with
 * control bytes where a number goes. Messages and records are not stored, they are counted: message n of a queue is
 * template n modulo the number of templates. What was handed out, deleted, deleted twice is kept in a byte per message.
 * Counters lie in a file that is mapped, so that who measures can read them without a call (`Stat`).
 *
 * `answers.h` has what all answers are made of, `queues.h` SQS, `streams.h` Kinesis and DynamoDB Streams; here are HTTP and the
 * loop. One unit: the parts share their state.
 *
 * Linux only; `server.py` does the same where there is no compiler.
 */
#include "streams.h"

/* --- HTTP */

static void dispatch(Connection *c, char *target, char *body) {
    char *action = strchr(target, '.');
    if (!action++) { refuse(c, "UnknownOperationException", ""); return; }
    if (!strncmp(target, "AmazonSQS.", 10)) {
        if (!strcmp(action, "ReceiveMessage")) sqs_receive(c, body);
        else if (!strcmp(action, "DeleteMessageBatch")) { stat[DELETE_CALLS]++; sqs_batch(c, body, 1); }
        else if (!strcmp(action, "ChangeMessageVisibilityBatch")) sqs_batch(c, body, 0);
        else if (!strcmp(action, "SendMessage")) sqs_send(c, body);
        else { stat[DELETE_CALLS] += !strcmp(action, "DeleteMessage"); sqs_other(c, action, body); }
        return;
    }
    int is_kinesis = !strncmp(target, "Kinesis_", 8);
    if (!is_kinesis && strncmp(target, "DynamoDBStreams_", 16)) refuse(c, "UnknownOperationException", "");
    else if (!strcmp(action, "GetRecords")) get_records(c, body, is_kinesis);
    else stream_other(c, action, body, is_kinesis);
}

static int one_request(Connection *c) { /* how many bytes of `in` it used up; 0 while it is incomplete */
    char *end = memmem(c->in, c->in_len, "\r\n\r\n", 4), *target = NULL;
    size_t length = 0;
    if (!end) return 0;
    for (char *line = c->in; line && line < end; line = memchr(line, '\n', end - line)) {
        if (*line == '\n') line++;
        if (!strncasecmp(line, "content-length:", 15)) length = strtoul(line + 15, NULL, 10);
        else if (!strncasecmp(line, "x-amz-target:", 13)) target = line + 13 + strspn(line + 13, " ");
    }
    size_t used = end + 4 - c->in + length;
    if (c->in_len < used) return 0;
    char after = c->in[used];
    c->in[used] = 0;
    stat[REQUESTS]++;
    if (target) {
        target[strcspn(target, "\r")] = 0;
        dispatch(c, target, end + 4);
    } else {
        begin();
        answer(c, 200, "");
    }
    c->in[used] = after;
    return (int)used;
}

static void handle_input(Connection *c) {
    while (c->fd >= 0 && !c->due && !c->waiting && !c->out_len) {
        int used = one_request(c);
        if (!used) return;
        memmove(c->in, c->in + used, c->in_len -= used);
    }
}

static void read_in(Connection *c) {
    for (;;) {
        if (c->in_cap - c->in_len < 16384) c->in = grown(c->in, (c->in_cap = c->in_len + 65536) + 1);
        ssize_t n = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) { close_down(c); return; }
        if (n < 0) break;
        c->in_len += n;
        if (c->in_len < c->in_cap) break;
    }
    handle_input(c);
}

static void accept_all(int server) {
    for (int fd, on = 1; (fd = accept4(server, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        Connection *c = calloc(1, sizeof *c);
        c->fd = fd;
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &e);
    }
}

static void send_delayed(void) {
    while (delayed_first && delayed_first->due <= now) {
        Connection *c = delayed_first;
        if (!(delayed_first = c->next)) delayed_last = NULL;
        c->due = 0;
        if (c->fd >= 0) write_out(c);
        if (c->fd >= 0) handle_input(c);
        if (c->fd < 0) { free(c->in); free(c->out); free(c); }
    }
}

static void arm(void) { /* the timer goes off at whatever is due first */
    int64_t at = next_until;
    if (delayed_first && delayed_first->due < at) at = delayed_first->due;
    if (rate > 0 && rate_began >= 0 && queue_of[0].first && queue_of[0].next < messages) {
        int64_t tick = rate_began + (int64_t)(queue_of[0].next * 1e9 / rate);
        if (tick < at) at = tick;
    }
    if (at == armed) return;
    armed = at;
    struct itimerspec t = {.it_value = {at / 1000000000LL, at % 1000000000LL}};
    if (at == INT64_MAX) t.it_value = (struct timespec){0, 0};
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

static void run(void) {
    struct epoll_event events[256];
    while (!stopping) {
        arm();
        int64_t before = clock_ns(CLOCK_MONOTONIC);
        int n = epoll_wait(poll_fd, events, 256, -1);
        now = clock_ns(CLOCK_MONOTONIC);
        stat[IDLE_NS] += now - before;
        for (int i = 0; i < n; i++) {
            Connection *c = events[i].data.ptr;
            if (c == (void *)&server_fd) { accept_all(server_fd); continue; }
            if (c == (void *)&timer_fd) {
                uint64_t ticks;
                if (read(timer_fd, &ticks, 8) == 8) armed = 0;
                continue;
            }
            if (c->fd >= 0 && events[i].events & EPOLLOUT) { write_out(c); if (c->fd >= 0) handle_input(c); }
            if (c->fd >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_in(c);
            if (c->fd < 0 && !c->due && !c->waiting) { free(c->in); free(c->out); free(c); }
        }
        send_delayed();
        if (rate > 0 && queue_of[0].first) serve_waiting(&queue_of[0]);
        if (next_until <= now) end_polls();
    }
}

/* --- start */

static void stop(int signal_number) { (void)signal_number; stopping = 1; }

int main(int argc, char **argv) {
    const char *folder = ".";
    for (int n = 1; n + 1 < argc; n += 2) {
        const char *name = argv[n], *value = argv[n + 1];
        if (!strcmp(name, "--folder")) folder = value;
        else if (!strcmp(name, "--queues")) queues = atoi(value);
        else if (!strcmp(name, "--messages")) messages = strtoul(value, NULL, 10);
        else if (!strcmp(name, "--groups")) groups = atoi(value);
        else if (!strcmp(name, "--streams")) streams = atoi(value);
        else if (!strcmp(name, "--shards")) shards = atoi(value);
        else if (!strcmp(name, "--records")) records = strtoul(value, NULL, 10);
        else if (!strcmp(name, "--latency-us")) latency_us = atoi(value);
        else if (!strcmp(name, "--rate")) rate = atof(value);
        else if (!strcmp(name, "--start-after")) start_after = atof(value);
        else return 64;
    }
    message_kinds = read_templates(folder, "messages", message_templates);
    record_kinds = read_templates(folder, "records", record_templates);
    item_kinds = read_templates(folder, "items", item_templates);
    char path[4096];
    snprintf(path, sizeof path, "%s/counters", folder);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, STATS * 8) || !message_kinds || !record_kinds || !item_kinds) return 66;
    stat = mmap(NULL, STATS * 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    queue_of = calloc(queues, sizeof *queue_of);
    high_water = calloc(streams * shards + 1, sizeof *high_water);
    for (Queue *q = queue_of; q < queue_of + queues; q++) {
        q->limit = messages;
        q->state = calloc(q->capacity = messages + 1, 1);
        q->group_next = calloc(groups + 1, sizeof *q->group_next);
        q->ready = calloc(groups + 1, sizeof *q->ready);
        for (int g = 0; g < groups && (uint32_t)g < messages; g++) q->ready[q->ready_len++] = g;
    }
    server_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof where;
    int on = 1;
    setsockopt(server_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(server_fd, (void *)&where, size) || listen(server_fd, 4096) || getsockname(server_fd, (void *)&where, &size)) return 71;
    poll_fd = epoll_create1(0);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = &server_fd}, t = {.events = EPOLLIN, .data.ptr = &timer_fd};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, server_fd, &e);
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer_fd, &t);
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    now = clock_ns(CLOCK_MONOTONIC);
    stat[STARTED_NS] = now;
    printf("%d\n", ntohs(where.sin_port));
    fflush(stdout);
    run();
    return 0;
}
