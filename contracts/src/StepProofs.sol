// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

/**
 * @title Proofs that a step stands in the tree whose root a scorer submitted.
 * @notice The whole leaf is given and hashed here: a bare hash would let an inner node of the tree pass for a leaf.
 */
library StepProofs {
    /// @dev One leaf of the tree of steps. The order of its fields is the order in which they are hashed.
    struct Step {
        bytes32 domain;
        uint256 index;
        uint256 count;
        string functionName;
        uint256 version;
        bytes32 inputHash;
        bytes32 outputHash;
    }

    /// @notice Whether the step carries this domain and is a leaf below this root.
    function verify(
        bytes32 root,
        bytes32 domain,
        bytes32[] calldata proof,
        Step calldata step
    ) internal pure returns (bool) {
        if (step.domain != domain || step.index >= step.count) return false;
        return MerkleProof.verifyCalldata(proof, root, leafOf(step));
    }

    /// @dev The leaf of OpenZeppelin's StandardMerkleTree: hashed twice, over the values and not over the struct.
    function leafOf(Step calldata step) internal pure returns (bytes32) {
        bytes memory values = abi.encode(
            step.domain,
            step.index,
            step.count,
            step.functionName,
            step.version,
            step.inputHash,
            step.outputHash
        );
        return keccak256(bytes.concat(keccak256(values)));
    }
}
