// Writes merkle.json: roots and some proofs of the npm package @openzeppelin/merkle-tree, over leaves that both
// sides derive from their index alone. Run: node tests/vectors/make_merkle_vectors.mjs [MERKLE_TREE_FOLDER]
// MERKLE_TREE_FOLDER is the folder of the installed package; it defaults to the one of contracts/package.json.
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const folder = resolve(process.argv[2] ?? `${here}/../../contracts/node_modules/@openzeppelin/merkle-tree`);
const require = createRequire(import.meta.url);
const { StandardMerkleTree } = require(folder);
const { version } = require(`${folder}/package.json`);

const LEAF_TYPES = ["bytes32", "uint256", "uint256", "string", "uint256", "bytes32", "bytes32"];
// The last names show that the length and the bytes of the text, not its characters, are encoded.
const FUNCTIONS = ["fetch_votes", "reputations", "eligibility", "a".repeat(32), "a".repeat(33), "größe€😂"];

const sha256 = (text) => `0x${createHash("sha256").update(text).digest("hex")}`;

const leaf = (domain, index, count) => [
  domain,
  index,
  count,
  FUNCTIONS[index % FUNCTIONS.length],
  1 + (index % 3),
  sha256(`input ${index}`),
  sha256(`output ${index}`),
];

// Several leaves together: none, one, neighbours, the ends and the middle, and all of a small tree.
const several = (count) =>
  [[], [0], [0, 1], [0, count >> 1, count - 1], Array.from({ length: Math.min(count, 12) }, (_, index) => index)]
    .map((indices) => [...new Set(indices.filter((index) => index < count))]);

const multi = (tree, indices) => {
  const { leaves, proof, proofFlags } = tree.getMultiProof(indices);
  const hashes = leaves.map((leaf) => tree.leafHash(leaf));
  return { indices, leaves: hashes, proof, flags: proofFlags };
};

const vector = (count) => {
  const domain = sha256(`domain ${count}`);
  const leaves = Array.from({ length: count }, (_, index) => leaf(domain, index, count));
  const tree = StandardMerkleTree.of(leaves, LEAF_TYPES);
  const shown = [...new Set([0, 1, 2, 3, 4, count >> 1, count - 1].filter((index) => index < count))];
  const proofs = shown.map((index) => ({
    index,
    function: leaves[index][3],
    version: leaves[index][4],
    hash: tree.leafHash(leaves[index]),
    proof: tree.getProof(index),
  }));
  return { count, domain, root: tree.root, proofs, multi_proofs: several(count).map((indices) => multi(tree, indices)) };
};

const content = {
  package: `@openzeppelin/merkle-tree ${version}`,
  leaf_types: LEAF_TYPES,
  functions: FUNCTIONS,
  vectors: [1, 2, 3, 5, 10, 100, 1000, 10001].map(vector),
};
process.stdout.write(`${JSON.stringify(content, null, 1)}\n`);
