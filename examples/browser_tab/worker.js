// A worker in a browser tab, written with the published TypeScript SDK. It tells the page's own server what it
// executes, and loads itself anew when that says so.
import { Resonate } from "./sdk.js";

const settings = await (await fetch("settings.json")).json();
const tab = crypto.randomUUID();
const tell = (news) => fetch("told", { method: "POST", body: JSON.stringify({ tab, ...news }) });

new EventSource("control").addEventListener("reload", () => location.reload());

async function multiply(ctx, product, number) {
  await tell({ event: "executed", id: ctx.id, number });
  await new Promise((done) => setTimeout(done, settings.pause_ms));
  return product * number;
}

async function factorial(ctx, number) {
  let product = 1;
  for (let factor = 2; factor <= number; factor++) product = await ctx.run(multiply, product, factor);
  return product;
}

const client = new Resonate({ url: settings.url, group: settings.group, pid: tab, ttl: 2000, logLevel: "error" });
client.register("factorial", factorial);
await tell({ event: "started" });
// The SDK asks on until somebody answers; whoever looks at the site is told for whom.
await fetch(`${settings.url}/health`).catch(() => tell({ event: "away" }));
