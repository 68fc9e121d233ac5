// The durable functions of member.mjs for the async engine; they are those of member.py.

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export function functions({ tell, Constant, pid }) {
  const attempts = new Map();
  const executed = (ctx, name, more = {}) => tell({ event: "executed", function: name, id: ctx.id, ...more });

  async function echo(ctx, value) {
    executed(ctx, "echo");
    return value;
  }
  async function member(ctx) {
    executed(ctx, "member");
    return pid;
  }
  async function step(ctx, number, pauseMs) {
    executed(ctx, "step", { number });
    await pause(pauseMs);
    return number * number;
  }
  async function chain(ctx, count, pauseMs) {
    const values = [];
    for (let number = 0; number < count; number++) values.push(await ctx.run(step, number, pauseMs));
    return values;
  }
  async function fan(ctx, width) {
    const futures = Array.from({ length: width }, (_, number) => ctx.run(step, number, 1));
    const values = [];
    for (const future of futures) values.push(await future);
    return values;
  }
  async function fanRemote(ctx, target, width) {
    const options = ctx.options({ target });
    const futures = Array.from({ length: width }, (_, number) => ctx.rpc("echo", number, options));
    const values = [];
    for (const future of futures) values.push(await future);
    return values;
  }
  async function relay(ctx, target, func, ...args) {
    return await ctx.rpc(func, ...args, ctx.options({ target }));
  }
  async function spawn(ctx, target, func, ...args) {
    return (await ctx.detached(func, ...args, ctx.options({ target }))).id;
  }
  async function nap(ctx, pauseMs) {
    await ctx.sleep(pauseMs);
    executed(ctx, "nap");
    return "woke";
  }
  async function ask(ctx, timeout) {
    const future = ctx.promise({ timeout });
    tell({ event: "asking", workflow: ctx.id, id: future.id });
    return await future;
  }
  async function flaky(ctx, failures) {
    const attempt = (attempts.get(ctx.id) ?? 0) + 1;
    attempts.set(ctx.id, attempt);
    executed(ctx, "flaky", { attempt });
    if (attempt <= failures) throw new Error(`attempt ${attempt} fails`);
    return attempt;
  }
  async function persist(ctx, failures, maxRetries) {
    const retryPolicy = new Constant({ delay: 1, maxRetries });
    return await ctx.run(flaky, failures, ctx.options({ retryPolicy }));
  }
  async function refuse(ctx, message) {
    executed(ctx, "refuse");
    throw new TypeError(message);
  }
  async function recover(ctx, target, func, ...args) {
    try {
      await ctx.rpc(func, ...args, ctx.options({ target }));
    } catch (error) {
      return `caught ${error.message}`;
    }
    return "nothing to catch";
  }
  async function choose(ctx, target, version) {
    return await ctx.rpc("versioned", ctx.options({ target, version }));
  }
  return [
    ["echo", 1, echo],
    ["member", 1, member],
    ["step", 1, step],
    ["chain", 1, chain],
    ["fan", 1, fan],
    ["fan_remote", 1, fanRemote],
    ["relay", 1, relay],
    ["spawn", 1, spawn],
    ["nap", 1, nap],
    ["ask", 1, ask],
    ["flaky", 1, flaky],
    ["persist", 1, persist],
    ["refuse", 1, refuse],
    ["recover", 1, recover],
    ["choose", 1, choose],
    ["versioned", 1, async () => "version 1"],
    ["versioned", 2, async () => "version 2"],
  ];
}
