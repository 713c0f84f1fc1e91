// sqs-consumer with a batch handler that does nothing: node consumer.mjs URL CONSUMERS [LATENCIES]
// LATENCIES is a file for the ages of the messages, in nanoseconds, a line each, written at the end.
import { createRequire } from "node:module";
import { writeFileSync } from "node:fs";

const require = createRequire(new URL("../.node/", import.meta.url));
const { SQSClient } = require("@aws-sdk/client-sqs");
const { Consumer } = require("sqs-consumer");

const [url, count, latencies] = process.argv.slice(2);
const ages = [];
const stamp = /stamp":"(\d{20})/;

const consumers = Array.from({ length: Number(count) }, () => {
  const sqs = new SQSClient({
    endpoint: url,
    region: "us-east-1",
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
    ...(latencies && { md5: false }), // a stamped body is not the one whose MD5 the fake knows
  });
  return Consumer.create({
    queueUrl: `${url}/000000000000/q0000`,
    sqs,
    batchSize: 10,
    waitTimeSeconds: 20,
    handleMessageBatch: async (messages) => {
      if (latencies) {
        const now = process.hrtime.bigint();
        for (const message of messages) ages.push(now - BigInt(stamp.exec(message.Body)[1]));
      }
      return messages;
    },
  });
});
for (const consumer of consumers) {
  consumer.on("error", (error) => console.error(error.message));
  consumer.start();
}
process.on("SIGTERM", () => {
  if (latencies) writeFileSync(latencies, ages.join("\n"));
  process.exit(0);
});
