// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC6372} from "@openzeppelin/contracts/interfaces/IERC6372.sol";

/**
 * @title What a registry of scores reads from its DAO.
 * @notice {ReputationDao} and every OpenZeppelin Governor answer these calls.
 */
interface IScoredDao is IERC6372 {
    /// @notice The timepoint at which voting weights are taken; a vote may be cast only after it.
    function proposalSnapshot(uint256 proposalId) external view returns (uint256);

    /// @notice The state as the ordinal of OpenZeppelin's IGovernor.ProposalState; reverts for an unknown proposal.
    function state(uint256 proposalId) external view returns (uint8);
}
