// The durable functions of member.mjs for the generator engine; they are those of member.py.

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
  function* chain(ctx, count, pauseMs) {
    const values = [];
    for (let number = 0; number < count; number++) values.push(yield* ctx.run(step, number, pauseMs));
    return values;
  }
  function* fan(ctx, width) {
    const futures = [];
    for (let number = 0; number < width; number++) futures.push(yield* ctx.beginRun(step, number, 1));
    const values = [];
    for (const future of futures) values.push(yield* future);
    return values;
  }
  function* fanRemote(ctx, target, width) {
    const futures = [];
    for (let number = 0; number < width; number++) {
      futures.push(yield* ctx.beginRpc("echo", number, ctx.options({ target })));
    }
    const values = [];
    for (const future of futures) values.push(yield* future);
    return values;
  }
  function* relay(ctx, target, func, ...args) {
    return yield* ctx.rpc(func, ...args, ctx.options({ target }));
  }
  function* spawn(ctx, target, func, ...args) {
    return (yield* ctx.detached(func, ...args, ctx.options({ target }))).id;
  }
  function* nap(ctx, pauseMs) {
    yield* ctx.sleep(pauseMs);
    executed(ctx, "nap");
    return "woke";
  }
  function* ask(ctx, timeout) {
    const future = yield* ctx.promise({ timeout });
    tell({ event: "asking", workflow: ctx.id, id: future.id });
    return yield* future;
  }
  async function flaky(ctx, failures) {
    const attempt = (attempts.get(ctx.id) ?? 0) + 1;
    attempts.set(ctx.id, attempt);
    executed(ctx, "flaky", { attempt });
    if (attempt <= failures) throw new Error(`attempt ${attempt} fails`);
    return attempt;
  }
  function* persist(ctx, failures, maxRetries) {
    const retryPolicy = new Constant({ delay: 1, maxRetries });
    return yield* ctx.run(flaky, failures, ctx.options({ retryPolicy }));
  }
  function* refuse(ctx, message) {
    executed(ctx, "refuse");
    throw new TypeError(message);
  }
  function* recover(ctx, target, func, ...args) {
    try {
      yield* ctx.rpc(func, ...args, ctx.options({ target }));
    } catch (error) {
      return `caught ${error.message}`;
    }
    return "nothing to catch";
  }
  function* choose(ctx, target, version) {
    return yield* ctx.rpc("versioned", ctx.options({ target, version }));
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
