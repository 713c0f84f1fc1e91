/* SQS: what a queue hands out and takes back. */
#include "answers.h"

static uint32_t available(Queue *q) {
    if (q->limit > messages || rate <= 0) return q->limit;
    if (rate_began < 0 || now < rate_began) return 0;
    double n = (now - rate_began) * rate / 1e9 + 1;
    return n < q->limit ? (uint32_t)n : q->limit;
}

static long take(Queue *q) { /* the number of a message that may be handed out now; -1 if there is none */
    if (q->returned_len) return q->returned[--q->returned_len];
    if (!groups) return q->next < available(q) ? (long)q->next++ : -1;
    if (!q->ready_len) return -1;
    uint32_t g = q->ready[q->ready_head];
    q->ready_head = (q->ready_head + 1) % groups;
    q->ready_len--;
    return (long)g + (long)groups * q->group_next[g]++;
}

static void group_free(Queue *q, uint32_t number) { /* a FIFO group hands out one message at a time */
    uint32_t g = number % groups;
    if (g + (uint64_t)groups * q->group_next[g] < q->limit) {
        q->ready[(q->ready_head + q->ready_len++) % groups] = g;
    }
}

static int receive(Connection *c, Queue *q, int most) {
    int got = 0;
    uint64_t millis = clock_ns(CLOCK_REALTIME) / 1000000;
    begin();
    put_text("{\"Messages\":[");
    for (long n; got < most && (n = take(q)) >= 0; got++) {
        if (got) put(",", 1);
        q->state[n] = IN_FLIGHT;
        put_template(&message_templates[n % message_kinds], n, q - queue_of, groups ? n % groups : 0, stamp_of(n), millis);
    }
    if (!got) return 0;
    stat[RECEIVED] += got;
    put("]}", 2);
    answer(c, 200, "");
    return got;
}

static void serve_waiting(Queue *q) {
    while (q->first) {
        Connection *c = q->first;
        if (c->fd >= 0 && !receive(c, q, c->most)) return;
        if (!(q->first = c->next)) q->last = NULL;
        c->waiting = 0;
        if (c->fd < 0) { free(c->in); free(c->out); free(c); }
    }
}

static void sqs_receive(Connection *c, char *body) {
    int n = queue_number(body, "QueueUrl");
    if (n < 0) { refuse(c, "com.amazonaws.sqs#QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue;Sender"); return; }
    Queue *q = &queue_of[n];
    long most = number_member(body, "MaxNumberOfMessages", 1), wait = number_member(body, "WaitTimeSeconds", 0);
    stat[RECEIVES]++;
    if (!stat[FIRST_POLL_NS]) stat[FIRST_POLL_NS] = now;
    if (rate > 0 && rate_began < 0) rate_began = now + (int64_t)(start_after * 1e9);
    if (receive(c, q, most > 10 ? 10 : most)) return;
    if (wait <= 0) {
        stat[EMPTY_RECEIVES]++;
        begin();
        put("{}", 2);
        answer(c, 200, "");
        return;
    }
    c->waiting = 1;
    c->queue = n;
    c->most = most > 10 ? 10 : most;
    c->until = now + wait * 1000000000LL;
    if (c->until < next_until) next_until = c->until;
    c->next = NULL;
    if (q->last) q->last->next = c; else q->first = c;
    q->last = c;
}

static void end_polls(void) { /* answer the long polls whose time is over */
    next_until = INT64_MAX;
    for (int n = 0; n < queues; n++) {
        Queue *q = &queue_of[n];
        Connection *kept = NULL, *c = q->first, *next;
        for (q->first = q->last = NULL; c; c = next) {
            next = c->next;
            if (c->fd >= 0 && c->until > now) {
                if (c->until < next_until) next_until = c->until;
                c->next = NULL;
                if (kept) kept->next = c; else q->first = c;
                q->last = kept = c;
                continue;
            }
            c->waiting = 0;
            if (c->fd < 0) { free(c->in); free(c->out); free(c); continue; }
            stat[EMPTY_RECEIVES]++;
            begin();
            put("{}", 2);
            answer(c, 200, "");
        }
    }
}

static long handle_number(const char *value) { /* "AQEB", 12 digits, the queue's */
    char digits[13] = "";
    return sscanf(value, "\"AQEB%12[0-9]", digits) == 1 ? atol(digits) : -1;
}

static void delete_one(Queue *q, long n) {
    if (n < 0 || n >= q->limit || q->state[n] == FREE) { stat[DELETED_UNKNOWN]++; return; }
    if (q->state[n] == GONE) { stat[DELETED_TWICE]++; return; }
    q->state[n] = GONE;
    stat[DELETED]++;
    if (groups) group_free(q, n);
}

static void give_back(Queue *q, long n) {
    if (n < 0 || n >= q->limit || q->state[n] != IN_FLIGHT) return;
    q->state[n] = FREE;
    stat[RETURNED]++;
    if (q->returned_len == q->returned_cap) q->returned = grown(q->returned, (q->returned_cap += 64) * sizeof *q->returned);
    q->returned[q->returned_len++] = n;
}

static void sqs_batch(Connection *c, char *body, int deleting) { /* entries: the nth id belongs to the nth handle */
    int n = queue_number(body, "QueueUrl");
    if (n < 0) { refuse(c, "com.amazonaws.sqs#QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue;Sender"); return; }
    Queue *q = &queue_of[n];
    char *at = body, *handle = body, *timeout = body;
    begin();
    put_text("{\"Successful\":[");
    for (int count = 0; (at = member(at, "Id")) && (handle = member(handle, "ReceiptHandle")); count++) {
        long number = handle_number(handle);
        if (deleting) delete_one(q, number);
        else if ((timeout = member(timeout, "VisibilityTimeout")) && atol(timeout) == 0) give_back(q, number);
        if (count) put(",", 1);
        put_text("{\"Id\":");
        put(at, strchr(at + 1, '"') - at + 1);
        put("}", 1);
    }
    put_text("],\"Failed\":[]}");
    answer(c, 200, "");
    if (groups || !deleting) serve_waiting(q);
}

static void sqs_send(Connection *c, char *body) { /* the message is the template's, stamped now */
    int n = queue_number(body, "QueueUrl");
    if (n < 0) { refuse(c, "com.amazonaws.sqs#QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue;Sender"); return; }
    Queue *q = &queue_of[n];
    if (q->limit == q->capacity) q->state = grown(q->state, q->capacity += 4096);
    q->state[q->limit] = FREE;
    sent_stamps[q->limit++ % 4096] = now;
    stat[SENT]++;
    begin();
    put_text("{\"MessageId\":\"sent\",\"MD5OfMessageBody\":\"d41d8cd98f00b204e9800998ecf8427e\"}");
    answer(c, 200, "");
    serve_waiting(q);
}

static void sqs_other(Connection *c, const char *action, char *body) {
    int n = queue_number(body, strcmp(action, "GetQueueUrl") ? "QueueUrl" : "QueueName");
    if (n < 0) { refuse(c, "com.amazonaws.sqs#QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue;Sender"); return; }
    begin();
    if (!strcmp(action, "GetQueueUrl")) {
        put_text("{\"QueueUrl\":\"http://sqs.fake/000000000000/q");
        put_digits(n, 4);
        put_text(groups ? ".fifo\"}" : "\"}");
    } else if (!strcmp(action, "GetQueueAttributes")) {
        put_text("{\"Attributes\":{\"VisibilityTimeout\":\"300\",\"RedrivePolicy\":\"{\\\"deadLetterTargetArn\\\":"
                 "\\\"arn:aws:sqs:us-east-1:000000000000:dead\\\",\\\"maxReceiveCount\\\":5}\"}}");
    } else if (!strcmp(action, "DeleteMessage")) {
        char *handle = member(body, "ReceiptHandle");
        delete_one(&queue_of[n], handle ? handle_number(handle) : -1);
        put("{}", 2);
    } else {
        refuse(c, "com.amazonaws.sqs#UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation;Sender");
        return;
    }
    answer(c, 200, "");
    if (groups) serve_waiting(&queue_of[n]);
}
