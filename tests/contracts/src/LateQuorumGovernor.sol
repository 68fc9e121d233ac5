// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Governor} from "@openzeppelin/contracts/governance/Governor.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";
import {
    GovernorPreventLateQuorum
} from "@openzeppelin/contracts/governance/extensions/GovernorPreventLateQuorum.sol";
import {SimpleGovernor} from "./SimpleGovernor.sol";

/// @title A Governor whose vote is prolonged by 10 when its quorum is reached late.
contract LateQuorumGovernor is SimpleGovernor, GovernorPreventLateQuorum {
    constructor(
        IVotes token_,
        address guardian,
        uint256 delay,
        uint256 period
    ) SimpleGovernor(token_, guardian, delay, period) GovernorPreventLateQuorum(10) {}

    function proposalDeadline(
        uint256 proposalId
    ) public view override(Governor, GovernorPreventLateQuorum) returns (uint256) {
        return super.proposalDeadline(proposalId);
    }

    function _tallyUpdated(uint256 proposalId) internal override(Governor, GovernorPreventLateQuorum) {
        super._tallyUpdated(proposalId);
    }
}
