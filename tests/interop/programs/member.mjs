// A member of a worker group, written with the published TypeScript SDK, that its standard input drives.
//
// The same program as member.py: argument 1 is JSON `url`, `group`, `pid`, `ttl_ms`, `functions`, and
// `packages`, the folder whose node_modules holds the SDK, and `engine`, "generator" or "async".

import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const settings = JSON.parse(process.argv[2]);
const resolve = createRequire(`${settings.packages}/package.json`).resolve;
const load = (name) => import(pathToFileURL(resolve(name)).href);
const entry = settings.engine === "async" ? "@resonatehq/sdk/async" : "@resonatehq/sdk";
const { Resonate, Constant } = await load(entry);
const { functions } = await import(`./functions_${settings.engine}.mjs`);

const tell = (news) => process.stdout.write(`${JSON.stringify(news)}\n`);
const data = (value) => Buffer.from(JSON.stringify(value)).toString("base64");
const plain = (value) => (value?.data ? JSON.parse(Buffer.from(value.data, "base64")) : null);

const client = new Resonate({
  url: settings.url,
  group: settings.group,
  pid: settings.pid,
  ttl: settings.ttl_ms,
  // Not through RESONATE_TOKEN: the SDK sends that with its commands, but not with its stream.
  token: settings.token,
  logLevel: "error",
});
for (const [name, version, func] of functions({ tell, Constant, pid: settings.pid })) {
  if ((settings.functions ?? [name]).includes(name)) client.register(name, func, { version });
}

const handles = new Map();
const commands = {
  async begin({ how, id, function: func, args, target, version = 1, timeout_ms: timeout = 120_000 }) {
    const options = client.options({ timeout, version, ...(target ? { target } : {}) });
    const [run, rpc] = settings.engine === "async" ? [client.run, client.rpc] : [client.beginRun, client.beginRpc];
    const begin = how === "run" ? run : rpc;
    const handle = await begin.call(client, id, func, ...args, options);
    handles.set(id, handle);
    return handle.id;
  },
  async result({ id }) {
    if (!handles.has(id)) handles.set(id, await client.get(id));
    return (await handles.get(id).result()) ?? null;
  },
  async get({ id }) {
    const record = await client.promises.get(id);
    return { state: record.state, value: plain(record.value) };
  },
  async create({ id, timeout_at: timeoutAt }) {
    return (await client.promises.create(id, timeoutAt)).state;
  },
  async settle({ id, how, value }) {
    return (await client.promises[how](id, { data: data(value) })).state;
  },
  async schedule({ id, cron, function: func, args, target }) {
    await client.schedule(id, cron, func, ...args, client.options({ target }));
    return (await client.schedules.get(id)).cron;
  },
  async unschedule({ id }) {
    await client.schedules.delete(id);
    return null;
  },
};

async function carryOut({ n, do: name, ...fields }) {
  try {
    tell({ n, answer: await commands[name](fields) });
  } catch (error) {
    tell({ n, error: String(error?.message ?? error), name: String(error?.name) });
  }
}

// A message that cannot be handled is the SDK's to report; the member lives on, as a service would.
process.on("unhandledRejection", (error) => process.stderr.write(`unhandled: ${error?.stack ?? error}\n`));
tell({ event: "started" });
createInterface({ input: process.stdin })
  .on("line", (line) => carryOut(JSON.parse(line)))
  .on("close", () => client.stop().finally(() => process.exit(0)));
