// The older kind of module, and a handler that is not async.
exports.handler = (event, context) => {
  console.log(`${context.functionName} saw ${event.Records.length} records`);
  return { records: event.Records.length };
};
