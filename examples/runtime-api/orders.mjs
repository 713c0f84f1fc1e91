// An ES module. Orders without an id are reported as failed; the others are done.
export const handler = async (event, context) => {
  console.log(`${event.Records.length} orders, ${context.getRemainingTimeInMillis()} ms left`);
  const failed = event.Records.filter((record) => !JSON.parse(record.body).order);
  return { batchItemFailures: failed.map((record) => ({ itemIdentifier: record.messageId })) };
};
