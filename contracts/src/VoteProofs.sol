// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {StepProofs} from "./StepProofs.sol";

/**
 * @title Proofs of how single votes were treated.
 * @notice Two paths lead from a vote to the root on the chain: the vote is a leaf of the tree of votes, whose root
 * stands in the output of the step `calculate_score`, and that step is a leaf of the tree of steps.
 */
library VoteProofs {
    bytes32 private constant VERDICT_STEP = keccak256("calculate_score");

    /// @dev One leaf of the tree of votes. The order of its fields is the order in which they are hashed.
    struct Vote {
        bytes32 domain;
        uint256 index;
        uint256 count;
        address voter;
        uint8 support;
        uint256 weight;
        uint256 countedWeight;
        bool counted;
        string reason;
        uint256 blockNumber;
        uint256 logIndex;
    }

    /**
     * @dev The step that made the verdict, its path, and its output: the canonical JSON of the verdict, without the
     * member `"votes_root":"0x…"`, as what comes before and after that.
     */
    struct Verdict {
        StepProofs.Step step;
        bytes32[] proof;
        string beforeRoot;
        bytes32 votesRoot;
        string afterRoot;
    }

    /// @notice Whether the verdict is that of this root and domain, and the vote a leaf of its tree of votes.
    function verify(
        bytes32 root,
        bytes32 domain,
        Verdict calldata verdict,
        bytes32[] calldata proof,
        Vote calldata vote
    ) internal pure returns (bool) {
        return
            _verifyVerdict(root, domain, verdict) &&
            _belongs(domain, vote) &&
            MerkleProof.verifyCalldata(proof, verdict.votesRoot, leafOf(vote));
    }

    /// @notice The same for several votes with one proof, in the order in which OpenZeppelin's multi-proofs take them.
    function verifyMany(
        bytes32 root,
        bytes32 domain,
        Verdict calldata verdict,
        bytes32[] calldata proof,
        bool[] calldata proofFlags,
        Vote[] calldata votes
    ) internal pure returns (bool) {
        // A proof of no leaves holds for any root that is its only sibling.
        if (votes.length == 0 || !_verifyVerdict(root, domain, verdict)) return false;
        bytes32[] memory leaves = new bytes32[](votes.length);
        for (uint256 i = 0; i < votes.length; ++i) {
            if (!_belongs(domain, votes[i])) return false;
            leaves[i] = leafOf(votes[i]);
        }
        return MerkleProof.multiProofVerifyCalldata(proof, proofFlags, verdict.votesRoot, leaves);
    }

    /// @dev The leaf of OpenZeppelin's StandardMerkleTree: hashed twice, over the values and not over the struct.
    function leafOf(Vote calldata vote) internal pure returns (bytes32) {
        bytes memory encoded = abi.encode(vote);
        bytes32 hashed;
        assembly ("memory-safe") {
            // Behind its length the encoding of a dynamic struct has one word more than that of its values.
            hashed := keccak256(add(encoded, 64), sub(mload(encoded), 32))
        }
        return keccak256(bytes.concat(hashed));
    }

    function _belongs(bytes32 domain, Vote calldata vote) private pure returns (bool) {
        return vote.domain == domain && vote.index < vote.count;
    }

    /**
     * @dev The member cannot be forged by a cut at another place: canonical JSON escapes every quote inside a text, so
     * that this sequence of bytes is always the member itself.
     */
    function _verifyVerdict(bytes32 root, bytes32 domain, Verdict calldata verdict) private pure returns (bool) {
        if (keccak256(bytes(verdict.step.functionName)) != VERDICT_STEP) return false;
        string memory shown = Strings.toHexString(uint256(verdict.votesRoot), 32);
        bytes memory output = abi.encodePacked(verdict.beforeRoot, '"votes_root":"', shown, '"', verdict.afterRoot);
        if (sha256(output) != verdict.step.outputHash) return false;
        return StepProofs.verify(root, domain, verdict.proof, verdict.step);
    }
}
