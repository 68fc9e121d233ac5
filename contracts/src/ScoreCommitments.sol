// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";
import {ScoreRounds} from "./ScoreRounds.sol";

/**
 * @title Verdicts that are committed before any of them is seen.
 * @notice In the first part of a round scorers commit to a hash, after it they reveal. The hash holds the scorer's own
 * address, so that nobody can copy a commitment from the mempool and reveal it with the salt of another: agreement
 * then means that each computed for itself.
 */
abstract contract ScoreCommitments is ScoreRounds {
    /// @notice The seconds of a round in which scorers commit; zero where verdicts are submitted openly.
    uint48 public immutable commitWindow;

    mapping(uint256 proposalId => mapping(uint32 round => mapping(address scorer => bytes32))) private _commitments;

    event ScoreCommitted(uint256 indexed proposalId, address indexed scorer, uint32 round, bytes32 commitment);

    error UnsupportedCommitWindow(uint48 commitWindow, uint48 roundWindow);
    error CommitmentsUnused();
    error CommitmentRequired();
    error EmptyCommitment();
    error AlreadyCommitted(uint256 proposalId, address scorer, uint32 round, bytes32 commitment);
    error CommitWindowOver(uint256 proposalId, uint32 round, uint48 until);
    error CommitWindowOpen(uint256 proposalId, uint32 round, uint48 until);
    error WrongReveal(uint256 proposalId, address scorer, uint32 round);

    constructor(Rules memory rules_) {
        if (rules_.commitWindow > 0 && rules_.commitWindow >= roundWindow) {
            revert UnsupportedCommitWindow(rules_.commitWindow, roundWindow);
        }
        commitWindow = rules_.commitWindow;
    }

    /// @notice Commits the sender to a verdict; `commitment` is what {commitmentFor} gives.
    function commitScore(uint256 proposalId, bytes32 commitment) external whenNotPaused {
        if (commitWindow == 0) revert CommitmentsUnused();
        if (commitment == bytes32(0)) revert EmptyCommitment();
        uint32 round = _enter(proposalId);
        bytes32 earlier = _commitments[proposalId][round][msg.sender];
        if (earlier != bytes32(0)) revert AlreadyCommitted(proposalId, msg.sender, round, earlier);
        uint48 until = _committedAt(proposalId);
        if (Time.timestamp() >= until) revert CommitWindowOver(proposalId, round, until);
        _checkEnded(proposalId);
        _commitments[proposalId][round][msg.sender] = commitment;
        emit ScoreCommitted(proposalId, msg.sender, round, commitment);
    }

    /// @notice Submits the verdict to which the sender has committed in this round, once the time to commit is over.
    function revealScore(Submission calldata submission, bytes32 salt) external whenNotPaused {
        uint256 proposalId = submission.proposalId;
        uint32 round = roundOf(proposalId);
        bytes32 revealed = commitmentFor(submission, round, msg.sender, salt);
        if (_commitments[proposalId][round][msg.sender] != revealed) {
            revert WrongReveal(proposalId, msg.sender, round);
        }
        uint48 until = _committedAt(proposalId);
        if (Time.timestamp() < until) revert CommitWindowOpen(proposalId, round, until);
        _submit(submission);
    }

    /// @notice What a scorer has committed to in a round; zero if nothing.
    function commitmentOf(uint256 proposalId, uint32 round, address scorer) external view returns (bytes32) {
        return _commitments[proposalId][round][scorer];
    }

    /// @notice The commitment of a scorer to a verdict and its policy. `salt` must be secret until it is revealed.
    function commitmentFor(
        Submission calldata submission,
        uint32 round,
        address scorer,
        bytes32 salt
    ) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), submission, round, scorer, salt));
    }

    /// @dev Refuses a call that submits openly as a whole, whatever it submits.
    function _checkOpenSubmission() internal view {
        if (commitWindow != 0) revert CommitmentRequired();
        _checkSender();
    }

    function _committedAt(uint256 proposalId) private view returns (uint48) {
        return _rounds[proposalId].startedAt + commitWindow;
    }
}
