/* Kinesis and DynamoDB Streams: shards that only count. */
#include "queues.h"

static uint32_t written(void) { /* records of a shard by now */
    if (rate <= 0) return records;
    if (rate_began < 0 || now < rate_began) return 0;
    double n = (now - rate_began) * rate / 1e9 + 1;
    return n < records ? (uint32_t)n : records;
}

static void put_iterator(int stream, int shard, uint32_t at) { /* as long as those of the services are */
    put_text("\"AAAAAAAA");
    put_digits(stream, 4);
    put_digits(shard, 4);
    put_digits(at, 12);
    put_text("ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
             "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff==\"");
}

static void get_records(Connection *c, char *body, int is_kinesis) {
    char *iterator = member(body, "ShardIterator"), digits[13] = "";
    unsigned stream, shard;
    if (!iterator || sscanf(iterator, "\"AAAAAAAA%4u%4u%12[0-9]", &stream, &shard, digits) != 3 || (int)shard >= shards ||
        (int)stream >= streams) {
        refuse(c, is_kinesis ? "InvalidArgumentException" : "ValidationException", "");
        return;
    }
    if (!stat[FIRST_POLL_NS]) stat[FIRST_POLL_NS] = now;
    if (rate > 0 && rate_began < 0) rate_began = now + (int64_t)(start_after * 1e9);
    uint32_t at = strtoul(digits, NULL, 10), there = written(), *high = &high_water[stream * shards + shard];
    long most = number_member(body, "Limit", 1000);
    uint32_t end = there < at ? at : there - at > most ? at + most : there;
    uint64_t millis = clock_ns(CLOCK_REALTIME) / 1000000;
    const Template *templates = is_kinesis ? record_templates : item_templates;
    int kinds = is_kinesis ? record_kinds : item_kinds;
    stat[READS]++;
    stat[EMPTY_READS] += end == at;
    stat[READ] += end - at;
    if (at < *high) stat[READ_AGAIN] += (end < *high ? end : *high) - at;
    if (end > *high) *high = end;
    begin();
    put_text("{\"NextShardIterator\":");
    put_iterator(stream, shard, end);
    if (is_kinesis) put_text(end < there ? ",\"MillisBehindLatest\":1000" : ",\"MillisBehindLatest\":0");
    put_text(",\"Records\":[");
    for (uint32_t n = at; n < end; n++) {
        if (n > at) put(",", 1);
        put_template(&templates[n % kinds], n, shard, n % 1000, rate > 0 ? rate_began + (int64_t)(n * 1e9 / rate) : now, millis);
    }
    put("]}", 2);
    answer(c, 200, "");
}

static void put_shards(void) {
    for (int n = 0; n < shards; n++) {
        put_text(n ? ",{\"ShardId\":\"shardId-00000000" : "{\"ShardId\":\"shardId-00000000");
        put_digits(n, 4);
        put_text("\",\"HashKeyRange\":{\"StartingHashKey\":\"0\",\"EndingHashKey\":\"1\"},"
                 "\"SequenceNumberRange\":{\"StartingSequenceNumber\":\"49000000000000000000000000000000000000000000\"}}");
    }
}

static void stream_other(Connection *c, const char *action, char *body, int is_kinesis) {
    char *name = member(body, "StreamARN");
    if (!name) name = member(body, is_kinesis ? "StreamName" : "StreamArn");
    long stream = name ? number_after(name, is_kinesis ? 's' : 't') : -1;
    if (stream < 0 || stream >= streams) { refuse(c, "ResourceNotFoundException", ""); return; }
    begin();
    if (!strcmp(action, "GetShardIterator")) {
        char *shard = member(body, "ShardId"), *type = member(body, "ShardIteratorType");
        char *after = member(body, is_kinesis ? "StartingSequenceNumber" : "SequenceNumber");
        uint32_t at = type && !strncmp(type, "\"LATEST", 7) ? written() : 0;
        if (after && strlen(after) > 45) at = strtoul(after + 1 + 32, NULL, 10) + !strncmp(type, "\"AFTER", 6);
        put_text("{\"ShardIterator\":");
        put_iterator(stream, shard ? atoi(shard + 1 + strlen("shardId-00000000")) : 0, at);
        put("}", 1);
    } else if (!strcmp(action, "ListShards")) {
        put_text("{\"Shards\":[");
        put_shards();
        put("]}", 2);
    } else if (!strncmp(action, "DescribeStream", 14)) {
        int summary = !strcmp(action, "DescribeStreamSummary");
        put_text(summary ? "{\"StreamDescriptionSummary\":{" : "{\"StreamDescription\":{");
        if (is_kinesis) {
            put_text("\"StreamName\":\"s");
            put_digits(stream, 4);
            put_text("\",\"StreamARN\":\"arn:aws:kinesis:us-east-1:000000000000:stream/s");
            put_digits(stream, 4);
            put_text("\",\"StreamStatus\":\"ACTIVE\",\"RetentionPeriodHours\":24,\"StreamCreationTimestamp\":1700000000.0,"
                     "\"EnhancedMonitoring\":[],\"HasMoreShards\":false,\"OpenShardCount\":1");
        } else {
            put_text("\"StreamArn\":\"arn:aws:dynamodb:us-east-1:000000000000:table/t");
            put_digits(stream, 4);
            put_text("/stream/2024-01-01T00:00:00.000\",\"StreamStatus\":\"ENABLED\",\"CreationRequestDateTime\":1700000000.0,"
                     "\"StreamViewType\":\"NEW_IMAGE\"");
        }
        if (!summary) {
            put_text(",\"Shards\":[");
            put_shards();
            put("]", 1);
        }
        put("}}", 2);
    } else {
        refuse(c, "UnknownOperationException", "");
        return;
    }
    answer(c, 200, "");
}
