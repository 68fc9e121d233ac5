// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/**
 * @title What a contract that acts on scores needs of {ProposalScores}.
 * @notice Act on nothing but `isFinal`: a verdict that was submitted, or agreed and still open to challenges, may
 * yet be replaced by another.
 */
interface IScoreRegistry {
    /// @notice Whether the proposal has a verdict that never changes.
    function isFinal(uint256 proposalId) external view returns (bool);

    /// @notice The final verdict; reverts while there is none.
    function scoreOf(
        uint256 proposalId
    ) external view returns (uint8 status, int32 score, bytes32 root, uint32 round, uint48 finalizedAt);
}
