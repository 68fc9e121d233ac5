// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Governor} from "@openzeppelin/contracts/governance/Governor.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";
import {GovernorVotes} from "@openzeppelin/contracts/governance/extensions/GovernorVotes.sol";

/// @title What the Governors of the tests share: a guardian who may cancel at any time, and a quorum of 100 votes.
abstract contract BaseGovernor is Governor, GovernorVotes {
    address private immutable _guardian;
    uint256 private immutable _delay;
    uint256 private immutable _period;

    constructor(IVotes token_, address guardian, uint256 delay, uint256 period) Governor("Test") GovernorVotes(token_) {
        _guardian = guardian;
        _delay = delay;
        _period = period;
    }

    function votingDelay() public view override returns (uint256) {
        return _delay;
    }

    function votingPeriod() public view override returns (uint256) {
        return _period;
    }

    function quorum(uint256) public pure override returns (uint256) {
        return 100;
    }

    /// @notice What a guardian's cancel() does; the proposer's ends with the first vote.
    function veto(
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) external returns (uint256) {
        if (msg.sender != _guardian) revert GovernorOnlyExecutor(msg.sender);
        return _cancel(targets, values, calldatas, descriptionHash);
    }
}
