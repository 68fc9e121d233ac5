// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Governor} from "@openzeppelin/contracts/governance/Governor.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";
import {
    GovernorCountingSimple
} from "@openzeppelin/contracts/governance/extensions/GovernorCountingSimple.sol";
import {GovernorSuperQuorum} from "@openzeppelin/contracts/governance/extensions/GovernorSuperQuorum.sol";
import {SimpleGovernor} from "./SimpleGovernor.sol";

/// @title A Governor whose vote ends as soon as 500 are in favour and more than against.
contract SuperQuorumGovernor is SimpleGovernor, GovernorSuperQuorum {
    constructor(
        IVotes token_,
        address guardian,
        uint256 delay,
        uint256 period
    ) SimpleGovernor(token_, guardian, delay, period) {}

    function superQuorum(uint256) public pure override returns (uint256) {
        return 500;
    }

    function state(
        uint256 proposalId
    ) public view override(Governor, GovernorSuperQuorum) returns (ProposalState) {
        return super.state(proposalId);
    }

    function proposalVotes(
        uint256 proposalId
    ) public view override(GovernorCountingSimple, GovernorSuperQuorum) returns (uint256, uint256, uint256) {
        return super.proposalVotes(proposalId);
    }
}
