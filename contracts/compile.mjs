// Compiles src/*.sol into artifacts/*.json, or with --check compares and writes nothing.
//
// Everything that decides the bytecode is committed beside it: the sources, compiler.json (settings) and the exact
// versions in package.json. Paths are relative and no metadata is appended, so the bytes are the same on any machine.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";

const ROOT = dirname(fileURLToPath(import.meta.url));
const CONTRACTS = ["ProposalScores", "ReputationDao"];
const read = (...parts) => readFileSync(join(ROOT, ...parts));
const json = (...parts) => JSON.parse(read(...parts));

/** SHA-256 over the name, length and bytes of each source, in the order of the names. */
function sourceHash(names) {
  const hash = createHash("sha256");
  for (const name of names) {
    const content = read("src", name);
    hash.update(`${name}\n${content.length}\n`).update(content);
  }
  return hash.digest("hex");
}

function importPackageFile(path) {
  const file = join(ROOT, "node_modules", path);
  return existsSync(file) ? { contents: readFileSync(file, "utf8") } : { error: `${path} not found: run npm ci` };
}

function compile(names, settings) {
  const sources = Object.fromEntries(names.map((name) => [`src/${name}`, { content: read("src", name).toString() }]));
  const outputSelection = { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } };
  const input = { language: "Solidity", sources, settings: { ...settings, outputSelection } };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: importPackageFile }));
  // A warning about a library's file is its author's; one about ours stops the build.
  const ours = (each) => each.severity === "error" || each.sourceLocation?.file.startsWith("src/");
  const messages = (output.errors ?? []).filter(ours).map((each) => each.formattedMessage);
  if (messages.length > 0) throw new Error(`solc reports:\n${messages.join("\n")}`);
  return output.contracts;
}

function artifacts() {
  const settings = json("compiler.json");
  const names = readdirSync(join(ROOT, "src")).filter((name) => name.endsWith(".sol")).sort();
  const compiled = compile(names, settings);
  const shared = {
    compiler: solc.version(),
    openzeppelin: json("node_modules", "@openzeppelin", "contracts", "package.json").version,
    settings,
    sourceHash: sourceHash(names),
  };
  return CONTRACTS.map((name) => {
    const { abi, evm } = compiled[`src/${name}.sol`][name];
    const code = { bytecode: `0x${evm.bytecode.object}`, deployedBytecode: `0x${evm.deployedBytecode.object}` };
    return [name, `${JSON.stringify({ name, ...shared, abi, ...code }, null, 1)}\n`];
  });
}

const check = process.argv.includes("--check");
let stale = 0;
for (const [name, text] of artifacts()) {
  const file = join(ROOT, "artifacts", `${name}.json`);
  if (!check) writeFileSync(file, text);
  else if (!existsSync(file) || readFileSync(file, "utf8") !== text) {
    stale += 1;
    console.error(`artifacts/${name}.json does not match its sources: run npm run compile in contracts/`);
  }
}
process.exitCode = stale === 0 ? 0 : 1;
