// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {
    AccessControlDefaultAdminRules
} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {IScoredDao} from "./IScoredDao.sol";

/// @title The DAO whose proposals are scored, and the policies that its admin bound them to.
abstract contract ScorePolicies is AccessControlDefaultAdminRules {
    using Checkpoints for Checkpoints.Trace256;

    /// @notice The DAO whose proposals are scored here, and whose clock is read.
    IScoredDao public immutable dao;

    Checkpoints.Trace256 private _policies;

    event PolicyRegistered(bytes32 indexed policyHash, uint256 timepoint);

    error InvalidDao(address dao);
    error PolicyUnchanged(bytes32 policyHash);
    error VotingNotEnded(uint256 proposalId, uint8 state);
    error ProposalWasCanceled(uint256 proposalId);

    constructor(IScoredDao dao_) {
        if (address(dao_).code.length == 0) revert InvalidDao(address(dao_));
        dao_.clock();
        dao = dao_;
    }

    /**
     * @notice Registers the scoring policy of the proposals whose snapshot lies after this timepoint of the DAO's
     * clock. Zero returns to "any policy".
     */
    function registerPolicy(bytes32 policyHash_) external onlyRole(DEFAULT_ADMIN_ROLE) {
        if (policyHash_ == policyHash()) revert PolicyUnchanged(policyHash_);
        uint48 timepoint = dao.clock();
        _policies.push(timepoint, uint256(policyHash_));
        emit PolicyRegistered(policyHash_, timepoint);
    }

    /// @notice The policy registered last.
    function policyHash() public view returns (bytes32) {
        return bytes32(_policies.latest());
    }

    /**
     * @notice The policy that binds a proposal, zero if any will do: the one registered last before its snapshot.
     * What is registered in the very timepoint of the snapshot does not bind: the rule is older than the proposal.
     */
    function policyOf(uint256 proposalId) public view returns (bytes32) {
        uint256 snapshot = dao.proposalSnapshot(proposalId);
        return snapshot == 0 ? bytes32(0) : bytes32(_policies.upperLookupRecent(snapshot - 1));
    }

    /// @notice What every leaf of a proposal's tree carries: where the score belongs and by which rule it was made.
    function domainOf(uint256 proposalId) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), address(dao), proposalId, policyOf(proposalId)));
    }

    /// @dev Asks the DAO for its own word, because a deadline may be extended and a vote may end before it.
    function _checkEnded(uint256 proposalId) internal view {
        uint8 state = dao.state(proposalId);
        if (state <= uint8(IGovernor.ProposalState.Active)) revert VotingNotEnded(proposalId, state);
        if (state == uint8(IGovernor.ProposalState.Canceled)) revert ProposalWasCanceled(proposalId);
    }
}
