// The in-process server of the published SDK, behind HTTP (`POST /`) and SSE (`GET /poll/{group}/{id}`).
//
// It is given {packages} as JSON and prints one line of JSON, {url}, once it listens. It knows the published
// protocol and no extension; what it answers is the SDK's own. It ends with its standard input.
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const settings = JSON.parse(process.argv[2]);
const local = `${settings.packages}/node_modules/@resonatehq/sdk/dist/src/network/local.js`;
const { Server } = await import(pathToFileURL(local));

const VERSION = "2026-04-01";
const TICK_MS = 50;
const KINDS = new Set([
  ...["get", "create", "settle", "register_callback", "register_listener", "search"].map((one) => `promise.${one}`),
  ...["get", "create", "acquire", "release", "fulfill", "suspend", "halt", "continue", "fence", "heartbeat", "search"].map(
    (one) => `task.${one}`,
  ),
  ...["get", "create", "delete", "search"].map((one) => `schedule.${one}`),
  "debug.snap",
]);

const server = new Server();
const members = new Map(); // group -> [{id, response}], the one served least recently first
let url = "";

function envelope(request, status, data) {
  return { kind: request.kind, head: { corrId: request.head?.corrId ?? "", status, version: VERSION }, data };
}

function answer(request) {
  if (!KINDS.has(request.kind)) return envelope(request, 400, `Unknown operation: ${request.kind}`);
  try {
    const { response } = server.apply(Date.now(), request);
    return envelope(request, response.head.status, counted(response.data));
  } catch (error) {
    return envelope(request, 500, String(error));
  }
}

// On the wire a task tells how many awaited promises have settled, not which.
function counted(data) {
  if (!data?.task) return data;
  return { ...data, task: { ...data.task, resumes: data.task.resumes.length } };
}

// Messages are hints: those for nobody that is connected wait until somebody is.
function deliver() {
  server.outgoing = server.outgoing.filter(({ address, message }) => {
    const [, cast, group, id] = address.match(/^poll:\/\/(any|uni)@([^/]+)\/?(.*)$/) ?? [];
    const standing = members.get(group) ?? [];
    let index = standing.findIndex((one) => one.id === id);
    if (index < 0 && cast === "any") index = standing.length ? 0 : -1;
    if (index < 0) return true;
    const [member] = standing.splice(index, 1);
    standing.push(member);
    const head = { serverUrl: url, ...message.head };
    member.response.write(`data: ${JSON.stringify({ ...message, head })}\n\n`);
    return false;
  });
}

function connect(group, id, response) {
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" });
  response.write(": connected\n\n");
  const member = { id, response };
  members.set(group, [...(members.get(group) ?? []), member]);
  response.on("close", () => members.set(group, members.get(group).filter((one) => one !== member)));
  deliver();
}

const http = createServer((request, response) => {
  const path = request.url.split("/").map(decodeURIComponent);
  if (request.method === "GET" && path[1] === "poll") return connect(path[2], path[3], response);
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const answered = answer(JSON.parse(Buffer.concat(chunks)));
    response.writeHead(answered.head.status, { "Content-Type": "application/json" });
    response.end(JSON.stringify(answered));
    deliver();
  });
});

setInterval(() => {
  server.apply(Date.now(), { kind: "debug.tick", head: { corrId: "", version: VERSION }, data: { time: Date.now() } });
  deliver();
}, TICK_MS);
process.stdin.on("end", () => process.exit(0)).resume();
http.listen(0, "127.0.0.1", () => {
  url = `http://127.0.0.1:${http.address().port}`;
  console.log(JSON.stringify({ url }));
});
