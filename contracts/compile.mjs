// Compiles src/*.sol into artifacts/*.json, ours and the tests', or with --check compares and writes nothing.
//
// Everything that decides the bytecode is committed beside it: the sources, compiler.json (settings) and the exact
// versions in package.json. Paths are relative and no metadata is appended, so the bytes are the same on any machine.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";

const ROOT = dirname(fileURLToPath(import.meta.url));
const PROJECTS = [
  { folder: ROOT, contracts: ["BlockClockGovernor", "ProposalScores", "ReadMany", "ReputationDao", "ScoreConsumer"] },
  {
    folder: join(ROOT, "..", "tests", "contracts"),
    contracts: [
      "Aggregator",
      "AlphaGovernor",
      "BravoGovernor",
      "FractionalGovernor",
      "LateQuorumGovernor",
      "OverridableGovernor",
      "SimpleGovernor",
      "StrangeDao",
      "SuperQuorumGovernor",
      "VotesToken",
    ],
  },
];
const json = (...parts) => JSON.parse(readFileSync(join(...parts)));

/** SHA-256 over the name, length and bytes of each source, in the order of the names. */
function sourceHash(folder, names) {
  const hash = createHash("sha256");
  for (const name of names) {
    const content = readFileSync(join(folder, "src", name));
    hash.update(`${name}\n${content.length}\n`).update(content);
  }
  return hash.digest("hex");
}

function importPackageFile(path) {
  const file = join(ROOT, "node_modules", path);
  return existsSync(file) ? { contents: readFileSync(file, "utf8") } : { error: `${path} not found: run npm ci` };
}

function compile(folder, names, settings) {
  const source = (name) => [`src/${name}`, { content: readFileSync(join(folder, "src", name)).toString() }];
  const sources = Object.fromEntries(names.map(source));
  const outputSelection = { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } };
  const input = { language: "Solidity", sources, settings: { ...settings, outputSelection } };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: importPackageFile }));
  // A warning about a library's file is its author's; one about ours stops the build.
  const ours = (each) => each.severity === "error" || each.sourceLocation?.file.startsWith("src/");
  const messages = (output.errors ?? []).filter(ours).map((each) => each.formattedMessage);
  if (messages.length > 0) throw new Error(`solc reports:\n${messages.join("\n")}`);
  return output.contracts;
}

function artifacts({ folder, contracts }) {
  const settings = json(folder, "compiler.json");
  const names = readdirSync(join(folder, "src")).filter((name) => name.endsWith(".sol")).sort();
  const compiled = compile(folder, names, settings);
  const shared = {
    compiler: solc.version(),
    openzeppelin: json(ROOT, "node_modules", "@openzeppelin", "contracts", "package.json").version,
    settings,
    sourceHash: sourceHash(folder, names),
  };
  return contracts.map((name) => {
    const { abi, evm } = compiled[`src/${name}.sol`][name];
    const code = { bytecode: `0x${evm.bytecode.object}`, deployedBytecode: `0x${evm.deployedBytecode.object}` };
    const text = `${JSON.stringify({ name, ...shared, abi, ...code }, null, 1)}\n`;
    return [join(folder, "artifacts", `${name}.json`), text];
  });
}

const check = process.argv.includes("--check");
let stale = 0;
for (const [file, text] of PROJECTS.flatMap(artifacts)) {
  if (!check) writeFileSync(file, text);
  else if (!existsSync(file) || readFileSync(file, "utf8") !== text) {
    stale += 1;
    console.error(`${file} does not match its sources: run npm run compile in contracts/`);
  }
}
process.exitCode = stale === 0 ? 0 : 1;
