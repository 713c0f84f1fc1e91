// Runs a Node handler over Lambda's Runtime API: `command: [node, bootstrap.mjs]`, `handler: file.function`.
// ES modules and CommonJS, async handlers and plain ones; nothing to install. Handlers that take a callback are not run.
import { existsSync } from "node:fs";
import http from "node:http";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const env = process.env;
const api = new URL(`http://${env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/`);
const agent = new http.Agent({ keepAlive: true });

function call(method, path, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request(new URL(path, api), { method, agent, headers }, (response) => {
      const pieces = [];
      response.on("data", (piece) => pieces.push(piece));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(pieces).toString();
        if (response.statusCode < 300) resolve({ headers: response.headers, text });
        else reject(new Error(`${method} ${path}: ${response.statusCode} ${text}`));
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}

function report(path, error) {
  const errorType = error?.name ?? typeof error;
  const said = { errorType, errorMessage: String(error?.message ?? error), stackTrace: error?.stack?.split("\n") ?? [] };
  console.error(error);
  return call("POST", path, JSON.stringify(said), { "Lambda-Runtime-Function-Error-Type": errorType });
}

async function load() {
  const [, name, path] = /^(.*?)\.([^/]*)$/.exec(env._HANDLER) ?? [];
  if (!path) throw new Error(`The handler has to be file.function, not '${env._HANDLER}'`);
  const file = ["mjs", "js", "cjs"].map((end) => join(env.LAMBDA_TASK_ROOT, `${name}.${end}`)).find(existsSync);
  if (!file) throw new Error(`There is no ${name}.mjs, .js or .cjs in ${env.LAMBDA_TASK_ROOT}`);
  const loaded = await import(pathToFileURL(file));
  for (const exported of [loaded, loaded.default]) { // what CommonJS exports may be seen as the default only
    const found = path.split(".").reduce((value, key) => value?.[key], exported);
    if (typeof found === "function") return found;
  }
  throw new Error(`${file} has no function ${path}`);
}

function contextOf(headers) {
  return {
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    getRemainingTimeInMillis: () => Math.max(0, Number(headers["lambda-runtime-deadline-ms"]) - Date.now()),
  };
}

const handler = await load().catch((error) => report("init/error", error).then(() => process.exit(1)));
while (true) {
  const { headers, text } = await call("GET", "invocation/next");
  const context = contextOf(headers);
  env._X_AMZN_TRACE_ID = headers["lambda-runtime-trace-id"];
  const path = `invocation/${context.awsRequestId}`;
  let answer;
  try {
    answer = JSON.stringify(await handler(JSON.parse(text), context)) ?? "null";
  } catch (error) {
    await report(`${path}/error`, error);
    continue;
  }
  await call("POST", `${path}/response`, answer, { "Content-Type": "application/json" });
}
