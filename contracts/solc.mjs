#!/usr/bin/env node
// The pinned solc of package.json under the name and with the options by which analysers call a compiler.
//
// `solc.mjs --version` and `solc.mjs --standard-json` (input on stdin; any other option is ignored). Imports come from
// node_modules: nothing is downloaded.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";

const ROOT = dirname(fileURLToPath(import.meta.url));

function importFile(path) {
  const file = [join(ROOT, path), join(ROOT, "node_modules", path)].find(existsSync);
  return file ? { contents: readFileSync(file, "utf8") } : { error: `${path} not found: run npm ci` };
}

if (process.argv.includes("--version")) console.log(`solc, the solidity compiler\nVersion: ${solc.version()}`);
else process.stdout.write(solc.compile(readFileSync(0, "utf8"), { import: importFile }));
