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
    error DaoIsSilent(uint256 proposalId);
    error WrongPolicy(uint256 proposalId, bytes32 policy, bytes32 binding);

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

    function _checkEnded(uint256 proposalId) internal view {
        _refuse(_unended(proposalId));
    }

    /**
     * @dev Why a proposal takes no verdict, by the DAO's own word, because a deadline may be extended and a vote may
     * end before it; empty if it takes one. What refusals are made of here and below is the data of a revert.
     */
    function _unended(uint256 proposalId) internal view returns (bytes memory) {
        try dao.state(proposalId) returns (uint8 state) {
            if (state <= uint8(IGovernor.ProposalState.Active)) {
                return abi.encodeWithSelector(VotingNotEnded.selector, proposalId, state);
            }
            if (state != uint8(IGovernor.ProposalState.Canceled)) return "";
            return abi.encodeWithSelector(ProposalWasCanceled.selector, proposalId);
        } catch (bytes memory refusal) {
            // Without a word it may be want of gas, for which no proposal may be blamed.
            if (refusal.length == 0) revert DaoIsSilent(proposalId);
            return refusal;
        }
    }

    /// @dev Why a verdict that was made under a policy is not taken; empty if that policy binds the proposal.
    function _misruled(uint256 proposalId, bytes32 policy) internal view returns (bytes memory) {
        bytes32 binding = policyOf(proposalId);
        if (policy == binding) return "";
        return abi.encodeWithSelector(WrongPolicy.selector, proposalId, policy, binding);
    }

    /// @dev Reverts with a refusal, unless it is empty.
    function _refuse(bytes memory refusal) internal pure {
        if (refusal.length == 0) return;
        assembly ("memory-safe") {
            revert(add(refusal, 32), mload(refusal))
        }
    }
}
