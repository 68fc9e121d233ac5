// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IScoreRegistry} from "./IScoreRegistry.sol";

/**
 * @title An example of acting on a score: accepts each proposal once, if its final score is high enough.
 * @notice It asks for `isFinal` and for nothing else. A score that was submitted, or agreed and not final yet, may
 * still be replaced. Inherit it and fill {_act}, or copy the three lines of {accept} that matter.
 */
contract ScoreConsumer {
    /// @dev The registry's status of a proposal with votes for or against.
    uint8 private constant SCORED = 1;

    /// @notice The registry whose word counts.
    IScoreRegistry public immutable registry;

    /// @notice The lowest score, in signed basis points, that is accepted.
    int32 public immutable threshold;

    mapping(uint256 proposalId => bool) public accepted;

    event ProposalAccepted(uint256 indexed proposalId, int32 score, bytes32 root);

    error InvalidRegistry(address registry);
    error ScoreNotFinal(uint256 proposalId);
    error ScoreTooLow(uint256 proposalId, uint8 status, int32 score);
    error AlreadyAccepted(uint256 proposalId);

    constructor(IScoreRegistry registry_, int32 threshold_) {
        if (address(registry_).code.length == 0) revert InvalidRegistry(address(registry_));
        registry = registry_;
        threshold = threshold_;
    }

    /// @notice Accepts a proposal and acts on it, once. Anybody may call it: the score decides.
    function accept(uint256 proposalId) external {
        if (accepted[proposalId]) revert AlreadyAccepted(proposalId);
        if (!registry.isFinal(proposalId)) revert ScoreNotFinal(proposalId);
        (uint8 status, int32 score, bytes32 root, , ) = registry.scoreOf(proposalId);
        if (status != SCORED || score < threshold) revert ScoreTooLow(proposalId, status, score);
        accepted[proposalId] = true;
        emit ProposalAccepted(proposalId, score, root);
        _act(proposalId, score);
    }

    /// @dev What follows from an accepted proposal; here nothing but the event.
    function _act(uint256 proposalId, int32 score) internal virtual {}
}
